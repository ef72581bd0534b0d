"""The FHIR R4 server for registered record systems: read and search of signed reports.

Everything leaves through `_Api`: the token is checked first, then the scope that the route's mark
names, then the clinic; each answer is checked and audited before it is sent. Photos are sealed for
the web tier, so they are named but never served.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import cast
from urllib.parse import urlencode

from flask import Blueprint, Response, current_app, g, request
from werkzeug.exceptions import HTTPException
from werkzeug.http import http_date, parse_date, parse_etags

from clinic.access import CaseFacts, Permission, may
from clinic.ehr_client import EhrClient, FhirAccess, grants
from clinic.fhir_capability import READ_TYPES, to_capability_statement
from clinic.fhir_checks import ensure_sound
from clinic.fhir_elements import Resource
from clinic.fhir_history import history_entry, newest_changes
from clinic.fhir_mapping import (
    Export,
    KeyKind,
    ReportKey,
    report_key,
    to_binary,
    to_resources,
)
from clinic.fhir_search import (
    KNOWN_PARAMETERS,
    PageKey,
    ReportPage,
    ReportSource,
    Search,
    SearchError,
    parse_history,
    parse_search,
)
from clinic.report_html import to_html
from clinic.report_values import NotSignedError, ReportValues, require_signed
from web.fhir_answers import FHIR_JSON, FhirError, http_refusal, json_answer, outcome, page_answer
from web.fhir_negotiation import wants_json, wants_page
from web.permission import ehr_client, mark_of, public

_PREFIX = "/fhir/R4"
_REPORTS = "DiagnosticReport"
_ALL_METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]


def create_fhir_blueprint(
    *,
    reports: ReportSource,
    authenticate: Callable[[str], EhrClient | None],
    base_url: str,
    audit: Callable[[FhirAccess], None],
    snomed: bool = True,
) -> Blueprint:
    """`base_url` is the absolute address of /fhir/R4; `audit` raises if it cannot record."""
    api = _Api(reports, authenticate, Export(base_url=base_url, snomed=snomed), audit)
    blueprint = Blueprint("fhir", __name__, url_prefix=_PREFIX)
    blueprint.before_request(api.guard)
    blueprint.register_error_handler(FhirError, api.refuse)
    blueprint.register_error_handler(HTTPException, http_refusal)
    blueprint.add_url_rule("/metadata", view_func=_metadata_view(api))
    search, history = _search_view(api), _history_view(api)
    blueprint.add_url_rule(f"/{_REPORTS}", view_func=search, methods=["GET"])
    blueprint.add_url_rule(f"/{_REPORTS}/_search", view_func=search, methods=["POST"])
    blueprint.add_url_rule(f"/{_REPORTS}/_history", view_func=history, methods=["GET"])
    for resource_type in READ_TYPES:
        blueprint.add_url_rule(
            f"/{resource_type}/<resource_id>",
            endpoint=f"read_{resource_type.lower()}",
            view_func=_read_view(api, resource_type),
        )
    for rest in ("/", "/<path:rest>"):
        blueprint.add_url_rule(rest, view_func=unknown, methods=_ALL_METHODS)
    return blueprint


def _metadata_view(api: "_Api") -> Callable[[], Response]:
    @public
    def metadata() -> Response:
        return api.metadata()

    return metadata


def _search_view(api: "_Api") -> Callable[[], Response]:
    @ehr_client("system/DiagnosticReport.s")
    def search() -> Response:
        return api.search()

    return search


def _history_view(api: "_Api") -> Callable[[], Response]:
    @ehr_client("system/DiagnosticReport.s")
    def history() -> Response:
        return api.history()

    return history


def _read_view(api: "_Api", resource_type: str) -> Callable[[str], Response]:
    @ehr_client(f"system/{resource_type}.r")
    def read(resource_id: str) -> Response:
        if resource_type == "Binary":
            return api.binary(resource_id)
        return api.read(resource_type, resource_id)

    return read


@public
def unknown(rest: str = "") -> Response:
    """Answer what no route serves, so that also these errors are an OperationOutcome."""
    if request.method not in {"GET", "HEAD"} and rest.partition("/")[0] in READ_TYPES:
        raise FhirError(405, "Only read and search are offered.")
    raise FhirError(404, "There is no such resource or operation.")


@dataclass(frozen=True)
class _Api:
    reports: ReportSource
    authenticate: Callable[[str], EhrClient | None]
    export: Export
    audit: Callable[[FhirAccess], None]

    def guard(self) -> None:
        """Close every route whose mark the request does not meet."""
        view = current_app.view_functions[str(request.endpoint)]
        mark = mark_of(view)
        if mark is not None and mark.kind == "public":
            return
        if mark is None or mark.kind != "ehr_client" or mark.scope is None:
            raise FhirError(403, "This address is closed.")
        client = self._client()
        g.fhir_client = client
        if not may(client, Permission.READ_SIGNED_REPORTS, scope=mark.scope):
            challenge = f'error="insufficient_scope", scope="{mark.scope}"'
            raise FhirError(403, f"The token lacks the scope {mark.scope}.", challenge=challenge)

    def _client(self) -> EhrClient:
        scheme, _, token = request.headers.get("Authorization", "").strip().partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            raise FhirError(401, "A bearer token is needed.", challenge='realm="fhir"')
        client = self.authenticate(token.strip())
        if client is None:
            challenge = 'realm="fhir", error="invalid_token"'
            raise FhirError(401, "The token is not valid.", challenge=challenge)
        return client

    def metadata(self) -> Response:
        _require_json()
        return json_answer(to_capability_statement(base_url=self.export.base_url))

    def read(self, resource_type: str, resource_id: str) -> Response:
        _require_json()
        values = self._report(resource_type, resource_id)
        made = to_resources(values, export=self.export, types={resource_type})
        resource = next((r for r in made if r["id"] == resource_id), None)
        if resource is None:
            raise _not_found(resource_type, resource_id)
        ensure_sound(resource)
        return self._conditional(values, _etag(resource), lambda: json_answer(resource))

    def binary(self, resource_id: str) -> Response:
        page = wants_page(**_negotiation())
        if not page:
            _require_json()
        values = self._report("Binary", resource_id)
        key = report_key("Binary", resource_id)
        if key is not None and key.kind is KeyKind.PHOTO:
            raise FhirError(403, "The photo is not released to this client.")
        etag = f'W/"{values.version}"'
        if page:
            return self._conditional(values, etag, lambda: page_answer(to_html(values)))
        resource = to_binary(values, export=self.export)
        ensure_sound(resource)
        return self._conditional(values, etag, lambda: json_answer(resource))

    def search(self) -> Response:
        _require_json()
        _require_form()
        search = self._asked(parse_search)
        page = self._page(search)
        bundle = self._search_set(search, page)
        ensure_sound(bundle)
        self._record(200, case_ids=tuple(r.case.id for r in page.reports))
        return json_answer(bundle)

    def history(self) -> Response:
        """What was signed and what was withdrawn, for who keeps copies."""
        _require_json()
        asked = self._asked(parse_history)
        page = self._page(asked)
        withdrawals = self.reports.withdrawals(
            clinic_id=current_client().clinic_id,
            since=asked.query.signed.start,
            count=asked.count + 1,
            after=asked.after,
        )
        changes = newest_changes(page.reports, withdrawals, count=asked.count)
        more = page.more or len(page.reports) + len(withdrawals) > len(changes)
        last = PageKey(changes[-1].at, changes[-1].case_id) if changes and more else None
        bundle: Resource = {
            "resourceType": "Bundle",
            "type": "history",
            "link": self._links(f"{_REPORTS}/_history", asked, last),
        }
        if changes:
            bundle["entry"] = [history_entry(one, export=self.export) for one in changes]
        ensure_sound(bundle)
        self._record(200, case_ids=tuple(one.case_id for one in changes if one.report))
        return json_answer(bundle)

    def _asked(self, parse: Callable[..., Search]) -> Search:
        strict = "handling=strict" in request.headers.get("Prefer", "").replace(" ", "").lower()
        try:
            return parse(_parameters(), base_url=self.export.base_url, strict=strict)
        except SearchError as error:
            message = f"{error.parameter} {error.message}."
            expression = f"http.{error.parameter}"
            raise FhirError(400, message, expression=expression) from error

    def refuse(self, error: FhirError) -> Response:
        """Answer with an OperationOutcome; a refusal is recorded like an access."""
        mark = mark_of(current_app.view_functions[str(request.endpoint)])
        if mark is not None and mark.kind == "ehr_client":
            self._record(error.status)
        response = outcome(error.status, error.message, expression=error.expression)
        if error.challenge:
            response.headers["WWW-Authenticate"] = f"Bearer {error.challenge}"
        if error.status == 405:
            response.headers["Allow"] = "GET, HEAD"
        return response

    def _report(self, resource_type: str, resource_id: str) -> ReportValues:
        """Find the report that holds a resource; what is unsigned or unknown is not there."""
        client = current_client()
        key = report_key(resource_type, resource_id)
        values = None if key is None else self.reports.read(clinic_id=client.clinic_id, key=key)
        if values is None and key is not None:
            self._refuse_withdrawn(key)
        if values is None or not _may_read(values):
            raise _not_found(resource_type, resource_id)
        return values

    def _refuse_withdrawn(self, key: ReportKey) -> None:
        """Tell a receiver that holds a copy that its original is gone for good."""
        if self.reports.is_withdrawn(clinic_id=current_client().clinic_id, key=key):
            raise FhirError(
                410,
                "The report was withdrawn: its patient was erased. Delete your copy, unless the "
                "law tells you to keep it.",
            )

    def _page(self, search: Search) -> ReportPage:
        if search.query.nothing:
            return ReportPage((), 0, more=False)
        page = self.reports.search(
            clinic_id=current_client().clinic_id,
            query=search.query,
            count=search.count,
            after=search.after,
            exact=search.exact,
        )
        if not all(map(_may_read, page.reports)):
            raise FhirError(500, "The search went wrong. Nothing was sent.")
        return page

    def _search_set(self, search: Search, page: ReportPage) -> Resource:
        last = PageKey.of(page.reports[-1], search.query) if page.more and page.reports else None
        bundle: Resource = {
            "resourceType": "Bundle",
            "type": "searchset",
            "link": self._links(_REPORTS, search, last),
        }
        if page.total is not None:
            bundle["total"] = page.total
        entries = self._entries(search, page)
        return bundle | ({"entry": entries} if entries else {})

    def _links(self, path: str, search: Search, last: PageKey | None) -> list[Resource]:
        """`last` is where this page ends, if more lies behind it."""
        links = [{"relation": "self", "url": self._url(path, search.used)}]
        if last is not None:
            parameters = (*search.filters, ("_page", last.to_token()))
            links.append({"relation": "next", "url": self._url(path, parameters)})
        return links

    def _url(self, path: str, parameters: tuple[tuple[str, str], ...]) -> str:
        address = f"{self.export.base_url}/{path}"
        return f"{address}?{urlencode(parameters)}" if parameters else address

    def _entries(self, search: Search, page: ReportPage) -> list[Resource]:
        """Give the matches, then what they bring along: once each, and only what is granted."""
        scopes = current_client().scopes
        allowed = {t for t in search.included if grants(scopes, f"system/{t}.r")}
        matches: dict[str, Resource] = {}
        brought: dict[str, Resource] = {}
        for values in page.reports:
            wanted = {"DiagnosticReport", *allowed}
            made = to_resources(values, export=self.export, types=wanted)
            for resource in (r for r in made if not _is_photo_document(r)):
                url = f"{self.export.base_url}/{resource['resourceType']}/{resource['id']}"
                match = resource["resourceType"] == "DiagnosticReport"
                mode = "match" if match else "include"
                entry = {"fullUrl": url, "resource": resource, "search": {"mode": mode}}
                (matches if match else brought).setdefault(url, entry)
        return [*matches.values(), *brought.values()]

    def _conditional(
        self, values: ReportValues, etag: str, make: Callable[[], Response]
    ) -> Response:
        """Answer 304 without a body to who has this version already (RFC 9110, section 13)."""
        changed_at = require_signed(values).at.replace(microsecond=0)
        response = Response(status=304) if _is_known(etag, changed_at) else make()
        response.headers["ETag"] = etag
        response.headers["Last-Modified"] = http_date(changed_at.astimezone(UTC))
        response.headers["Cache-Control"] = "no-store"
        self._record(response.status_code, case_ids=(values.case.id,))
        return response

    def _record(self, status: int, *, case_ids: tuple[str, ...] = ()) -> None:
        arguments = request.view_args or {}
        path = request.path.partition(f"{_PREFIX}/")[2]
        resource_id = arguments.get("resource_id")
        self.audit(
            FhirAccess(
                client=cast("EhrClient | None", g.get("fhir_client")),
                interaction=_interaction(),
                resource_type=path.partition("/")[0],
                resource_id=resource_id,
                query=urlencode([p for p in _parameters() if p[0] in KNOWN_PARAMETERS]),
                status=status,
                case_ids=case_ids,
            )
        )


def _interaction() -> str:
    if "resource_id" in (request.view_args or {}):
        return "read"
    return "history-type" if request.path.endswith("/_history") else "search-type"


def _may_read(values: ReportValues) -> bool:
    """Stand behind the source: what is unsigned or another clinic's is not there."""
    facts = CaseFacts(
        patient_id=values.patient.id,
        clinic_id=values.organization.id,
        claimed_by=None,
        first_read_by=None,
        signed=_is_signed(values),
    )
    return may(current_client(), Permission.READ_SIGNED_REPORTS, facts)


def _is_signed(values: ReportValues) -> bool:
    try:
        require_signed(values)
    except NotSignedError:
        return False
    return True


def current_client() -> EhrClient:
    return cast("EhrClient", g.fhir_client)


def _parameters() -> list[tuple[str, str]]:
    return [*request.args.items(multi=True), *request.form.items(multi=True)]


def _negotiation() -> Mapping[str, str | None]:
    requested = request.args.get("_format") or request.form.get("_format")
    return {"accept": request.headers.get("Accept"), "requested_format": requested}


def _require_json() -> None:
    if not wants_json(**_negotiation()):
        raise FhirError(406, f"Only {FHIR_JSON} is offered.")


def _require_form() -> None:
    """Refuse a search whose body would be overlooked, since then it would find everything."""
    if request.method == "POST" and request.mimetype != "application/x-www-form-urlencoded":
        raise FhirError(415, "A search by POST is application/x-www-form-urlencoded.")


def _is_known(etag: str, changed_at: datetime) -> bool:
    none_match = request.headers.get("If-None-Match")
    if none_match is not None:
        return parse_etags(none_match).contains_weak(etag.removeprefix("W/").strip('"'))
    since = parse_date(request.headers.get("If-Modified-Since"))
    return since is not None and changed_at <= since


def _etag(resource: Resource) -> str:
    """Give the version; what belongs to many reports has none and is named by its content."""
    version = resource["meta"].get("versionId")
    if version is None:
        version = hashlib.sha256(json.dumps(resource, sort_keys=True).encode()).hexdigest()[:32]
    return f'W/"{version}"'


def _is_photo_document(resource: Resource) -> bool:
    """Tell whether a document relates to a photo only, and so not to the report that was found."""
    kind = report_key(resource["resourceType"], resource["id"])
    documents = resource["resourceType"] == "DocumentReference"
    return documents and kind is not None and kind.kind is KeyKind.PHOTO


def _not_found(resource_type: str, resource_id: str) -> FhirError:
    return FhirError(404, f"{resource_type}/{resource_id} is not known.")
