"""An audit entry as a FHIR R4 AuditEvent after IHE Basic Audit Log Patterns (BALP 1.1.4).

A profile is claimed for what it describes: something that was done. A refusal has the same shape
with an outcome of 4 and claims none, as BALP asks. An authorization that the policy alone decided
is a security alert of the subtype AuthZ-Role; the profile AuthZconsent wants a Consent that the
entry does not name. Everybody is an opaque id here: no name, no text.

Agents: client and server as BALP's pattern has them, then the person. Entries keep no network
address, and the element that BALP makes mandatory says so.
"""

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from clinic.audit_event import AuditAction, AuditEvent
from clinic.fhir_elements import Resource, checked, coding_element, concept, instant
from clinic.terminology import CANONICAL, CASE_IDENTIFIER_SYSTEM, Coding

_BALP = "https://profiles.ihe.net/ITI/BALP/StructureDefinition/IHE.BasicAudit"
_AUTHZ = "https://profiles.ihe.net/ITI/BALP/CodeSystem/AuthZsubType"
_DCM = "http://dicom.nema.org/resources/ontology/DCM"
_THO = "http://terminology.hl7.org/CodeSystem"
_ACTOR_SYSTEM = f"{CANONICAL}/sid/actor"
_ACTION_SYSTEM = f"{CANONICAL}/CodeSystem/audit-action"

SUCCESS, REFUSED = "0", "4"
EHR_PREFIX = "ehr:"
PROGRAMS = frozenset(
    {
        *("worker", "keeper", "relay", "reconciler", "retention", "restore", "backup", "web"),
        *("command line", "installation", "unknown"),
    }
)

_REST = Coding(f"{_THO}/audit-event-type", "rest", "Restful Operation")
_EXPORT = Coding(_DCM, "110106", "Export")
_ALERT = Coding(_DCM, "110113", "Security Alert")
_AUTHENTICATION = Coding(_DCM, "110114", "User Authentication")
_ACTIVITY = Coding(_DCM, "110100", "Application Activity")
_SOURCE_ROLE = Coding(_DCM, "110153", "Source Role ID")
_DESTINATION_ROLE = Coding(_DCM, "110152", "Destination Role ID")
_RECIPIENT = Coding(f"{_THO}/v3-ParticipationType", "IRCP", "information recipient")
_AUTHOR = Coding(f"{_THO}/v3-ParticipationType", "AUT", "author (originator)")
_PERSON = Coding(f"{_THO}/audit-entity-type", "1", "Person")
_SYSTEM_OBJECT = Coding(f"{_THO}/audit-entity-type", "2", "System Object")
_PATIENT_ROLE = Coding(f"{_THO}/object-role", "1", "Patient")
_RESOURCE_ROLE = Coding(f"{_THO}/object-role", "4", "Domain Resource")
_QUERY_ROLE = Coding(f"{_THO}/object-role", "24", "Query")
_APPLICATION_SERVER = Coding(f"{_THO}/security-source-type", "4", "Application Server")


class Kind(StrEnum):
    READ = "Read"
    QUERY = "Query"
    CREATE = "Create"
    UPDATE = "Update"
    DELETE = "Delete"
    DISCLOSURE = "PrivacyDisclosure.Source"
    AUTHORIZATION = "authorization"
    AUTHENTICATION = "authentication"
    ACTIVITY = "activity"


KINDS: Mapping[AuditAction, Kind] = MappingProxyType(
    {
        AuditAction.ACCOUNT_CREATED: Kind.CREATE,
        AuditAction.SIGNED_IN: Kind.AUTHENTICATION,
        AuditAction.SIGN_IN_REFUSED: Kind.AUTHENTICATION,
        AuditAction.SIGNED_OUT: Kind.AUTHENTICATION,
        AuditAction.SECOND_FACTOR_ENROLLED: Kind.AUTHENTICATION,
        AuditAction.STEPPED_UP: Kind.AUTHENTICATION,
        AuditAction.ACCOUNT_READ: Kind.READ,
        AuditAction.CONSENT_RECORDED: Kind.CREATE,
        AuditAction.ACCESS_DENIED: Kind.AUTHORIZATION,
        AuditAction.REQUEST_REFUSED: Kind.ACTIVITY,
        AuditAction.SUBMISSION_RECEIVED: Kind.CREATE,
        AuditAction.SUBMISSION_SCREENED: Kind.UPDATE,
        AuditAction.SCREENING_FAILED: Kind.ACTIVITY,
        AuditAction.SCREENING_GIVEN_UP: Kind.UPDATE,
        AuditAction.SCREENING_RETRIED: Kind.UPDATE,
        AuditAction.RETAKE_REQUESTED: Kind.UPDATE,
        AuditAction.PHOTOS_REPLACED: Kind.UPDATE,
        AuditAction.CASE_LISTED: Kind.QUERY,
        AuditAction.CASE_CLAIMED: Kind.UPDATE,
        AuditAction.CASE_RELEASED: Kind.UPDATE,
        AuditAction.CASE_HANDED_OVER: Kind.UPDATE,
        AuditAction.CASE_ESCALATED: Kind.ACTIVITY,
        AuditAction.LETTER_POSTED: Kind.UPDATE,
        AuditAction.CASE_READ: Kind.READ,
        AuditAction.STATUS_READ: Kind.READ,
        AuditAction.FIRST_READ_RECORDED: Kind.CREATE,
        AuditAction.CASE_SIGNED: Kind.CREATE,
        AuditAction.SECOND_READS_LISTED: Kind.QUERY,
        AuditAction.SECOND_READ_ASKED: Kind.CREATE,
        AuditAction.SECOND_READ_TAKEN: Kind.UPDATE,
        AuditAction.SECOND_READ_GIVEN_BACK: Kind.UPDATE,
        AuditAction.SECOND_READ_RECORDED: Kind.CREATE,
        AuditAction.SECOND_READ_WITHDRAWN: Kind.UPDATE,
        AuditAction.MESSAGES_LISTED: Kind.QUERY,
        AuditAction.MESSAGES_READ: Kind.READ,
        AuditAction.MESSAGE_SENT: Kind.CREATE,
        AuditAction.MESSAGES_TAKEN_OVER: Kind.UPDATE,
        AuditAction.REPORT_TAKEN_OVER: Kind.UPDATE,
        AuditAction.MESSAGES_NEED_NO_ANSWER: Kind.UPDATE,
        AuditAction.NOTE_WRITTEN: Kind.CREATE,
        AuditAction.RESULT_READ: Kind.READ,
        AuditAction.KEYS_ASKED: Kind.ACTIVITY,
        AuditAction.KEYS_RELEASED: Kind.AUTHORIZATION,
        AuditAction.KEYS_REFUSED: Kind.AUTHORIZATION,
        AuditAction.EMERGENCY_ACCESS: Kind.DISCLOSURE,
        AuditAction.OBJECT_FETCHED: Kind.READ,
        AuditAction.OBJECTS_SETTLED: Kind.UPDATE,
        AuditAction.EHR_READ: Kind.READ,
        AuditAction.OPERATIONS_READ: Kind.READ,
        AuditAction.READING_READ: Kind.READ,
        AuditAction.TRAINING_SET_EXPORTED: Kind.ACTIVITY,
        AuditAction.CASE_EXPORTED: Kind.DISCLOSURE,
        AuditAction.RECORD_EXPORTED: Kind.DISCLOSURE,
        AuditAction.ERASURE_ASKED: Kind.CREATE,
        AuditAction.ERASURE_WITHDRAWN: Kind.UPDATE,
        AuditAction.ERASURE_GRANTED: Kind.UPDATE,
        AuditAction.ERASURE_REFUSED: Kind.UPDATE,
        AuditAction.ERASURES_LISTED: Kind.QUERY,
        AuditAction.ERASURE_ANSWER_READ: Kind.READ,
        AuditAction.CERTIFICATE_FETCHED: Kind.READ,
        AuditAction.PATIENT_ERASED: Kind.DELETE,
        AuditAction.RETENTION_APPLIED: Kind.DELETE,
        AuditAction.AUDIT_SEARCHED: Kind.QUERY,
        AuditAction.AUDIT_EXPORTED: Kind.ACTIVITY,
        AuditAction.ACCESS_LOG_READ: Kind.READ,
    }
)

# What each kind is in FHIR: its type, its subtype, its action.
_SHAPES: Mapping[Kind, tuple[Coding, Coding | None, str]] = MappingProxyType(
    {
        Kind.READ: (_REST, Coding("http://hl7.org/fhir/restful-interaction", "read"), "R"),
        Kind.QUERY: (_REST, Coding("http://hl7.org/fhir/restful-interaction", "search-type"), "E"),
        Kind.CREATE: (_REST, Coding("http://hl7.org/fhir/restful-interaction", "create"), "C"),
        Kind.UPDATE: (_REST, Coding("http://hl7.org/fhir/restful-interaction", "update"), "U"),
        Kind.DELETE: (_REST, Coding("http://hl7.org/fhir/restful-interaction", "delete"), "D"),
        Kind.DISCLOSURE: (_EXPORT, Coding(f"{_THO}/iso-21089-lifecycle", "disclose"), "R"),
        Kind.AUTHORIZATION: (_ALERT, Coding(_AUTHZ, "AuthZ-Role"), "E"),
        Kind.AUTHENTICATION: (_AUTHENTICATION, None, "E"),
        Kind.ACTIVITY: (_ACTIVITY, None, "E"),
    }
)
_WITH_PATIENT = frozenset({Kind.READ, Kind.QUERY, Kind.CREATE, Kind.UPDATE, Kind.DELETE})
_TO_THE_CLIENT = frozenset({Kind.READ, Kind.DISCLOSURE})


@dataclass(frozen=True)
class AuditSource:
    """The system that wrote the entries: its FHIR base, without a slash at its end."""

    base_url: str


def kind_of(event: AuditEvent) -> Kind:
    """A record system's search is a query; what is not in the table is the system's own work."""
    if event.action is AuditAction.EHR_READ and event.detail.startswith("search"):
        return Kind.QUERY
    return KINDS.get(event.action, Kind.ACTIVITY)


def to_audit_event(sequence: int, event: AuditEvent, *, source: AuditSource) -> Resource:
    """The entry at this place of the chain, checked by the R4B model."""
    kind = kind_of(event)
    kind_type, subtype, action = _SHAPES[kind]
    profile = _profile(kind, event)
    own = Coding(_ACTION_SYSTEM, event.action.replace(" ", "-"), event.action)
    return checked(
        {
            "resourceType": "AuditEvent",
            "id": f"audit-{sequence}",
            "meta": {"profile": [profile]} if profile else None,
            "type": coding_element(kind_type),
            "subtype": [coding_element(one) for one in (subtype, own) if one is not None],
            "action": action,
            "recorded": instant(event.at),
            "outcome": SUCCESS if event.allowed else REFUSED,
            "outcomeDesc": None if event.allowed else f"refused: {event.detail}".rstrip(": "),
            "agent": _agents(kind, event, source),
            "source": {
                "site": source.base_url,
                "observer": _server(source),
                "type": [coding_element(_APPLICATION_SERVER)],
            },
            "entity": _entities(kind, event),
        }
    )


def _profile(kind: Kind, event: AuditEvent) -> str | None:
    """The BALP profile that the entry keeps; none for a refusal and for what BALP does not know."""
    if not event.allowed:
        return None
    if kind is Kind.DISCLOSURE:
        return f"{_BALP}.{kind}" if event.patient_id else None
    if kind not in _WITH_PATIENT:
        return None
    return f"{_BALP}.Patient{kind}" if event.patient_id else f"{_BALP}.{kind}"


def _agents(kind: Kind, event: AuditEvent, source: AuditSource) -> list[Resource]:
    """Client, server and, where a person acted, the person.

    BALP's roles follow the data of a read, and the request of everything else. A disclosure flows
    from the server to whoever asked.
    """
    client_role, server_role = _SOURCE_ROLE, _DESTINATION_ROLE
    if kind in _TO_THE_CLIENT:
        client_role, server_role = server_role, client_role
    is_person = event.actor not in PROGRAMS and not event.actor.startswith(EHR_PREFIX)
    client = _actor("portal in a browser" if is_person else event.actor)
    agents = [
        {
            "type": concept(client_role),
            "who": client,
            "requestor": not is_person,
            "network": {"address": "not recorded", "type": "1"},
        },
        {
            "type": concept(server_role),
            "who": _server(source),
            "requestor": False,
            "network": {"address": source.base_url, "type": "5"},
        },
    ]
    if is_person:
        wrote = kind in {Kind.CREATE, Kind.UPDATE, Kind.DELETE}
        role = concept(_AUTHOR if wrote else _RECIPIENT)
        agents.append({"type": role, "who": _actor(event.actor), "requestor": True})
    return agents


def _actor(name: str) -> Resource:
    return {"identifier": {"system": _ACTOR_SYSTEM, "value": name}}


def _server(source: AuditSource) -> Resource:
    return {"identifier": {"system": "urn:ietf:rfc:3986", "value": source.base_url}}


def _entities(kind: Kind, event: AuditEvent) -> list[Resource]:
    entities = [_query(event) if kind is Kind.QUERY else _data(event)]
    if event.patient_id is not None:
        entities.append(
            {
                "what": {"reference": f"Patient/{event.patient_id}"},
                "type": coding_element(_PERSON),
                "role": coding_element(_PATIENT_ROLE),
            }
        )
    return entities


def _query(event: AuditEvent) -> Resource:
    """The entry keeps what was asked for as a code, never the words that were typed."""
    asked = f"{event.action}: {event.detail}" if event.detail else str(event.action)
    return {
        "type": coding_element(_SYSTEM_OBJECT),
        "role": coding_element(_QUERY_ROLE),
        "query": base64.b64encode(asked.encode()).decode(),
    }


def _data(event: AuditEvent) -> Resource:
    case = {"system": CASE_IDENTIFIER_SYSTEM, "value": event.submission_id}
    what: Resource = {"identifier": case} if event.submission_id else {"display": event.action}
    detail = [{"type": "detail", "valueString": event.detail}] if event.detail else []
    return {
        "what": what,
        "type": coding_element(_SYSTEM_OBJECT),
        "role": coding_element(_RESOURCE_ROLE),
        **({"detail": detail} if detail else {}),
    }
