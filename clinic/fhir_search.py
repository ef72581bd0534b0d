"""Search parameters of DiagnosticReport (FHIR R4, 3.1.1): a request in, a query as values out."""

import base64
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any, Protocol

from clinic.fhir_history import Withdrawal
from clinic.fhir_mapping import ReportKey
from clinic.report_values import ReportStatus, ReportValues, require_signed
from clinic.terminology import (
    CASE_IDENTIFIER_SYSTEM,
    IMAGING_SERVICE,
    RADIOLOGY_CATEGORY,
)

DEFAULT_COUNT = 20
MAX_COUNT = 100
SIGNED_STATUSES = frozenset(ReportStatus) - {ReportStatus.UNSIGNED}

# Which resource types of a report each include brings along.
INCLUDES: Mapping[str, str] = MappingProxyType(
    {
        "DiagnosticReport:subject": "Patient",
        "DiagnosticReport:patient": "Patient",
        "DiagnosticReport:performer": "Organization Practitioner",
        "DiagnosticReport:results-interpreter": "Practitioner",
        "DiagnosticReport:result": "Observation",
        "DiagnosticReport:media": "Media",
    }
)
REVERSE_INCLUDES: Mapping[str, str] = MappingProxyType(
    {"Provenance:target": "Provenance", "DocumentReference:related": "DocumentReference"}
)


_ID = re.compile(r"[A-Za-z0-9\-.]{1,64}")  # FHIR R4, datatype id


class SearchError(Exception):
    """A parameter that cannot be used; `parameter` is its name as the client wrote it."""

    def __init__(self, parameter: str, message: str) -> None:
        self.parameter = parameter
        self.message = message
        super().__init__(f"{parameter}: {message}")


@dataclass(frozen=True)
class Token:
    """`system` None matches any system."""

    system: str | None
    value: str


@dataclass(frozen=True)
class Period:
    """Half open: `start <= moment < end`; None means no limit."""

    start: datetime | None = None
    end: datetime | None = None

    def narrowed(self, other: "Period") -> "Period":
        starts = [p.start for p in (self, other) if p.start is not None]
        ends = [p.end for p in (self, other) if p.end is not None]
        return Period(max(starts, default=None), min(ends, default=None))

    def holds(self, moment: datetime) -> bool:
        return (self.start is None or self.start <= moment) and (
            self.end is None or moment < self.end
        )


@dataclass(frozen=True, kw_only=True)
class ReportQuery:
    """All conditions must hold. `effective` is when the photos were sent, `signed` when signed.

    `case_ids` None means any; `nothing` says that no report can match, so none need be looked for.
    """

    patient_id: str | None = None
    patient_identifiers: tuple[Token, ...] = ()
    case_ids: frozenset[str] | None = None
    statuses: frozenset[ReportStatus] = SIGNED_STATUSES
    effective: Period = field(default_factory=Period)
    signed: Period = field(default_factory=Period)
    nothing: bool = False

    @property
    def by_sending(self) -> bool:
        """Whether the newest come by when their photos were sent, as a search by `date` asks."""
        return self.effective != Period()


@dataclass(frozen=True)
class PageKey:
    """The last report of a page; the next page starts behind it.

    `at` is when the report was signed or, in a search by `date`, when its photos were sent.
    """

    at: datetime
    case_id: str

    @classmethod
    def of(cls, report: ReportValues, query: ReportQuery) -> "PageKey":
        at = report.case.submitted_at if query.by_sending else require_signed(report).at
        return cls(at, report.case.id)

    @classmethod
    def from_token(cls, token: str) -> "PageKey":
        """Raise ValueError for what `to_token` did not make."""
        if len(token) > 200:
            raise ValueError("is no page of a search")
        try:
            moment, case_id = json.loads(base64.urlsafe_b64decode(token.encode("ascii")))
            at = datetime.fromisoformat(moment)
            known = at.tzinfo is not None and _ID.fullmatch(case_id)
            place = cls(at.astimezone(UTC), case_id)
        except (TypeError, ValueError, OverflowError) as error:
            raise ValueError("is no page of a search") from error
        if not known:
            raise ValueError("is no page of a search")
        return place

    def to_token(self) -> str:
        moment = self.at.astimezone(UTC).isoformat()
        return base64.urlsafe_b64encode(json.dumps([moment, self.case_id]).encode()).decode()


@dataclass(frozen=True)
class ReportPage:
    """`total` counts all matches, None where they are many; `more`: reports follow behind these."""

    reports: tuple[ReportValues, ...]
    total: int | None
    more: bool


class ReportSource(Protocol):
    """Where signed reports come from; a clinic's client never gets a report of another clinic."""

    def read(self, *, clinic_id: str, key: ReportKey) -> ReportValues | None:
        """Give the newest signed version of the newest report that contains what `key` names."""

    def is_withdrawn(self, *, clinic_id: str, key: ReportKey) -> bool:
        """Tell whether there was such a report, and its patient was erased."""

    def withdrawals(
        self, *, clinic_id: str, since: datetime | None, count: int, after: PageKey | None
    ) -> Sequence[Withdrawal]:
        """Give at most `count` withdrawals of reports behind `after`, newest first."""

    def search(
        self,
        *,
        clinic_id: str,
        query: ReportQuery,
        count: int,
        after: PageKey | None,
        exact: bool,
    ) -> ReportPage:
        """Give at most `count` reports behind `after`, newest (see PageKey) first.

        `total` does not depend on `count`, which may be 0, nor on `after`; `exact` asks for it
        however long counting takes.
        """


@dataclass(frozen=True)
class Search:
    """`used` are the parameters that counted, for the self link; `count` 0 asks for the total.

    `accurate` asks for an exact total beside the reports.
    """

    query: ReportQuery = field(default_factory=ReportQuery)
    count: int = DEFAULT_COUNT
    accurate: bool = False
    after: PageKey | None = None
    included: frozenset[str] = frozenset()
    used: tuple[tuple[str, str], ...] = ()

    @property
    def exact(self) -> bool:
        return self.accurate or self.count == 0

    @property
    def filters(self) -> tuple[tuple[str, str], ...]:
        """The used parameters without the place of the page."""
        return tuple(pair for pair in self.used if pair[0] != "_page")


def parse_search(
    parameters: Iterable[tuple[str, str]], *, base_url: str, strict: bool = False
) -> Search:
    """Raise SearchError for a bad value, an unknown modifier or, if `strict`, any unknown name."""
    return _parsed(parameters, SEARCH_PARAMETERS, base_url=base_url, strict=strict)


def parse_history(
    parameters: Iterable[tuple[str, str]], *, base_url: str, strict: bool = False
) -> Search:
    """As `parse_search`, for what a history may be asked: since when, how many, behind which."""
    return _parsed(parameters, HISTORY_PARAMETERS, base_url=base_url, strict=strict)


def _parsed(
    parameters: Iterable[tuple[str, str]],
    known: Mapping[str, "Parameter"],
    *,
    base_url: str,
    strict: bool,
) -> Search:
    search = Search()
    for name, value in parameters:
        parse = known.get(name)
        if name in _IGNORED:
            continue
        if parse is None:
            _refuse_unknown(name, known, strict=strict)
            continue
        if not value.strip():
            raise SearchError(name, "has no value")
        try:
            changed = parse(search, value.removeprefix(f"{base_url}/"))
        except ValueError as error:
            raise SearchError(name, str(error)) from error
        if changed is not None:
            search = replace(changed, used=(*changed.used, (name, value)))
        elif strict:
            raise SearchError(name, "is not supported with this value")
    return search


def _refuse_unknown(name: str, known: Mapping[str, "Parameter"], *, strict: bool) -> None:
    stem = re.split(r"[:.]", name, maxsplit=1)[0]
    if stem in known and stem != name:
        raise SearchError(name, "has a modifier or a chain that is not supported")
    if strict:
        raise SearchError(name, "is not supported")


def _narrowed(search: Search, **conditions: Any) -> Search:
    return replace(search, query=replace(search.query, **conditions))


def _patient(search: Search, value: str) -> Search:
    patient_id = value.removeprefix("Patient/")
    if not _ID.fullmatch(patient_id):
        raise ValueError("is not the id of one Patient")
    other = search.query.patient_id
    contradicts = other is not None and other != patient_id
    nothing = search.query.nothing or contradicts
    return _narrowed(search, patient_id=patient_id, nothing=nothing)


def _patient_identifier(search: Search, value: str) -> Search:
    known = search.query.patient_identifiers
    return _narrowed(search, patient_identifiers=(*known, _token(value)))


def _identifier(search: Search, value: str) -> Search:
    tokens = [_token(part) for part in value.split(",")]
    ids = {t.value for t in tokens if t.system in {None, CASE_IDENTIFIER_SYSTEM}}
    return _only(search, ids)


def _id(search: Search, value: str) -> Search:
    return _only(search, set(value.split(",")))


def _only(search: Search, ids: set[str]) -> Search:
    known = search.query.case_ids
    kept = frozenset(ids if known is None else known & ids)
    return _narrowed(search, case_ids=kept, nothing=search.query.nothing or not kept)


def _status(search: Search, value: str) -> Search:
    wanted: set[ReportStatus] = set()
    for token in (_token(part) for part in value.split(",")):
        if token.value not in _REPORT_STATUSES:
            raise ValueError("is no status of a DiagnosticReport")
        if token.system in {None, "http://hl7.org/fhir/diagnostic-report-status"}:
            wanted |= {s for s in SIGNED_STATUSES if s.value == token.value}
    kept = search.query.statuses & wanted
    return _narrowed(search, statuses=kept, nothing=search.query.nothing or not kept)


def _category(search: Search, value: str) -> Search:
    """Match what every report carries, so a category finds either all reports or none."""
    ours = {(c.system, c.code) for c in (IMAGING_SERVICE, RADIOLOGY_CATEGORY)}
    tokens = [_token(part) for part in value.split(",")]
    matches = any(
        code == token.value and token.system in {None, system}
        for token in tokens
        for system, code in ours
    )
    return _narrowed(search, nothing=search.query.nothing or not matches)


def _date(search: Search, value: str) -> Search:
    return _narrowed(search, effective=search.query.effective.narrowed(_period(value)))


def _issued(search: Search, value: str) -> Search:
    return _narrowed(search, signed=search.query.signed.narrowed(_period(value)))


def _since(search: Search, value: str) -> Search:
    return _issued(search, f"ge{value}")


def _count(search: Search, value: str) -> Search:
    if not re.fullmatch(r"[0-9]{1,9}", value):
        raise ValueError("is not a whole number from 0")
    return replace(search, count=min(int(value), MAX_COUNT))


def _summary(search: Search, value: str) -> Search | None:
    return replace(search, count=0) if value == "count" else None


def _total(search: Search, value: str) -> Search:
    if value not in {"none", "estimate", "accurate"}:
        raise ValueError("is not none, estimate or accurate")
    return replace(search, accurate=value == "accurate")


def _page(search: Search, value: str) -> Search:
    return replace(search, after=PageKey.from_token(value))


def _include(search: Search, value: str) -> Search | None:
    return _bring(search, value, INCLUDES)


def _reverse_include(search: Search, value: str) -> Search | None:
    return _bring(search, value, REVERSE_INCLUDES)


def _bring(search: Search, value: str, known: Mapping[str, str]) -> Search | None:
    source, _, rest = value.partition(":")
    name, _, only = rest.partition(":")
    types = frozenset(known.get(f"{source}:{name}", "").split())
    kept = types & {only} if only else types
    return replace(search, included=search.included | kept) if kept else None


def _token(text: str) -> Token:
    system, bar, value = text.strip().rpartition("|")
    if not value:
        raise ValueError("has no code or identifier")
    return Token(system if bar else None, value)


_DATE_VALUE = re.compile(
    r"(?P<prefix>eq|ge|gt|le|lt|sa|eb)?"
    r"(?P<year>\d{4})(-(?P<month>\d{2})(-(?P<day>\d{2})"
    r"(T(?P<clock>\d{2}:\d{2}(?P<seconds>:\d{2})?)(\.\d+)?(?P<zone>Z|[+-]\d{2}:\d{2})?)?)?)?"
)


def _period(text: str) -> Period:
    """Read a date with its prefix; a value without a zone counts as UTC."""
    found = _DATE_VALUE.fullmatch(text.strip().replace(" ", "+"))
    if found is None:
        raise ValueError("is not a date with a prefix that is supported")
    try:
        start = _start(found)
        end = _end(found, start)
    except (ValueError, OverflowError) as error:
        raise ValueError("is no date of the calendar") from error
    prefix = found["prefix"] or "eq"
    if prefix in {"gt", "sa"}:
        return Period(start=end)
    if prefix in {"lt", "eb"}:
        return Period(end=start)
    return Period(None if prefix == "le" else start, None if prefix == "ge" else end)


def _start(found: re.Match[str]) -> datetime:
    day = f"{found['year']}-{found['month'] or '01'}-{found['day'] or '01'}"
    moment = datetime.fromisoformat(f"{day}T{found['clock'] or '00:00'}{found['zone'] or 'Z'}")
    return moment.astimezone(UTC)


def _end(found: re.Match[str], start: datetime) -> datetime:
    if found["clock"]:
        return start + (timedelta(seconds=1) if found["seconds"] else timedelta(minutes=1))
    if found["day"]:
        return start + timedelta(days=1)
    if found["month"] and start.month < 12:
        return start.replace(month=start.month + 1)
    return start.replace(year=start.year + 1, month=1)


_REPORT_STATUSES = frozenset(
    {
        "registered",
        "partial",
        "preliminary",
        "final",
        "amended",
        "corrected",
        "appended",
        "cancelled",
        "entered-in-error",
        "unknown",
    }
)
_IGNORED = frozenset({"_format", "_pretty", "_totalMethod"})
Parameter = Callable[[Search, str], Search | None]
HISTORY_PARAMETERS: Mapping[str, Parameter] = MappingProxyType(
    {"_count": _count, "_page": _page, "_since": _since}
)
SEARCH_PARAMETERS: Mapping[str, Parameter] = MappingProxyType(
    {
        "_id": _id,
        "_lastUpdated": _issued,
        "_count": _count,
        "_include": _include,
        "_page": _page,
        "_revinclude": _reverse_include,
        "_summary": _summary,
        "_total": _total,
        "category": _category,
        "date": _date,
        "identifier": _identifier,
        "issued": _issued,
        "patient": _patient,
        "patient.identifier": _patient_identifier,
        "status": _status,
        "subject": _patient,
        "subject:Patient": _patient,
        "subject:Patient.identifier": _patient_identifier,
    }
)
KNOWN_PARAMETERS = frozenset({*SEARCH_PARAMETERS, *HISTORY_PARAMETERS})
