"""What became of a clinic's reports, newest first: signed ones, and withdrawn ones as deletions.

The `history` interaction of a type (FHIR R4, 3.2.0.9). A report keeps one version here, its newest,
so what is told of it is that version alone. Whoever asks for all since the last visit learns which
of their copies to delete.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from clinic.fhir_elements import Resource, instant
from clinic.fhir_mapping import Export, to_resources
from clinic.report_values import ReportValues, require_signed


@dataclass(frozen=True)
class Withdrawal:
    """A signed report that is gone for good, because its patient was erased."""

    case_id: str
    at: datetime


@dataclass(frozen=True)
class Change:
    """`report` is None where it was withdrawn."""

    at: datetime
    case_id: str
    report: ReportValues | None = None


def newest_changes(
    reports: Sequence[ReportValues], withdrawals: Sequence[Withdrawal], *, count: int
) -> list[Change]:
    """The first `count` of both, in the order of PageKey."""
    changes = [Change(require_signed(one).at, one.case.id, one) for one in reports]
    changes += [Change(one.at, one.case_id) for one in withdrawals]
    return sorted(changes, key=lambda one: (one.at, one.case_id), reverse=True)[:count]


def history_entry(change: Change, *, export: Export) -> Resource:
    """The entry of a Bundle of type history."""
    address = f"DiagnosticReport/{change.case_id}"
    entry: Resource = {
        "fullUrl": f"{export.base_url}/{address}",
        "request": {"method": "DELETE", "url": address},
        "response": {"status": "204", "lastModified": instant(change.at)},
    }
    if change.report is None:
        return entry
    (resource,) = to_resources(change.report, export=export, types={"DiagnosticReport"})
    first = change.report.version == 1
    entry["resource"] = resource
    entry["request"] = {
        "method": "POST" if first else "PUT",
        "url": "DiagnosticReport" if first else address,
    }
    etag = f'W/"{resource["meta"]["versionId"]}"'
    entry["response"] |= {"status": "201" if first else "200", "etag": etag}
    return entry
