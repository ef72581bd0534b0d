"""What the FHIR API says about itself: the CapabilityStatement, true to what is served."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from fhir.resources.R4B import get_fhir_model_class

from clinic.fhir_search import INCLUDES, REVERSE_INCLUDES
from clinic.terminology import CANONICAL

_US_CORE = "http://hl7.org/fhir/us/core/StructureDefinition"

READ_TYPES: Mapping[str, str | None] = MappingProxyType(
    {
        "Binary": None,
        "Device": None,
        "DiagnosticReport": f"{_US_CORE}/us-core-diagnosticreport-note",
        "DocumentReference": f"{_US_CORE}/us-core-documentreference",
        "Media": None,
        "Observation": f"{_US_CORE}/us-core-observation-clinical-result",
        "Organization": f"{_US_CORE}/us-core-organization",
        "Patient": f"{_US_CORE}/us-core-patient",
        "Practitioner": f"{_US_CORE}/us-core-practitioner",
        "Provenance": f"{_US_CORE}/us-core-provenance",
    }
)
_SEARCH_PARAMETERS = (
    ("_id", "token"),
    ("_lastUpdated", "date"),
    ("category", "token"),
    ("date", "date"),
    ("identifier", "token"),
    ("issued", "date"),
    ("patient", "reference"),
    ("status", "token"),
    ("subject", "reference"),
)


def to_capability_statement(*, base_url: str) -> dict[str, Any]:
    resources = [_resource(name, profile) for name, profile in READ_TYPES.items()]
    statement = {
        "resourceType": "CapabilityStatement",
        "url": f"{CANONICAL}/CapabilityStatement/dermqueue",
        "name": "DermQueueFhirApi",
        "title": "DermQueue FHIR API",
        "status": "active",
        "date": "2026-11-23T00:00:00Z",
        "publisher": "DermQueue",
        "description": "Signed teledermatology reports, to read and to search; no writes.",
        "kind": "instance",
        "software": {"name": "DermQueue"},
        "implementation": {"description": "DermQueue", "url": base_url},
        "fhirVersion": "4.0.1",
        "format": ["json"],
        "rest": [
            {
                "mode": "server",
                "security": {
                    "description": "A bearer token for each registered client; TLS outside.",
                },
                "resource": resources,
            }
        ],
    }
    get_fhir_model_class("CapabilityStatement").model_validate(statement)
    return statement


def _resource(name: str, profile: str | None) -> dict[str, Any]:
    made: dict[str, Any] = {
        "type": name,
        "interaction": [{"code": "read"}],
        "versioning": "no-version",
        "readHistory": False,
        "updateCreate": False,
        "conditionalCreate": False,
        "conditionalRead": "full-support",
        "conditionalUpdate": False,
    }
    if profile is not None:
        made["supportedProfile"] = [profile]
    if name == "DiagnosticReport":
        made["interaction"] += [{"code": "search-type"}, {"code": "history-type"}]
        made["searchInclude"] = sorted(INCLUDES)
        made["searchRevInclude"] = sorted(REVERSE_INCLUDES)
        made["searchParam"] = [{"name": n, "type": t} for n, t in _SEARCH_PARAMETERS]
    return made
