"""The keyed chain: any change of any field, of the place or of what came before shows."""

from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta, timezone

import pytest

from clinic.audit_event import GENESIS, AuditAction, AuditEvent, chain_mac

AT = datetime(2026, 11, 3, 12, 0, 0, 123456, tzinfo=UTC)
EVENT = AuditEvent(
    at=AT,
    action=AuditAction.CASE_READ,
    actor="account-1",
    clinic_id="clinic-1",
    patient_id="patient-1",
    submission_id="case-1",
    detail="photos 2",
)
OTHER = {
    "at": AT + timedelta(microseconds=1),
    "action": AuditAction.CASE_SIGNED,
    "actor": "account-2",
    "clinic_id": None,
    "patient_id": "patient-2",
    "submission_id": "",
    "allowed": False,
    "detail": "photos 3",
}


def mac(
    event: AuditEvent = EVENT, *, key: bytes = b"k", previous: str = GENESIS, at: int = 1
) -> str:
    return chain_mac(key, previous=previous, sequence=at, event=event)


def test_the_mac_is_the_one_of_the_written_format() -> None:
    """A verifier that is written anew must find the same value for entries of today."""
    assert mac() == "7279a770d9c27b0d181ee476c1c75adb545e837b668dcc54c09034405c1c9a41"


@pytest.mark.parametrize("field", [field.name for field in fields(AuditEvent)])
def test_a_change_of_any_field_changes_the_mac(field: str) -> None:
    assert mac(replace(EVENT, **{field: OTHER[field]})) != mac()


def test_the_mac_depends_on_key_place_and_predecessor() -> None:
    assert len({mac(), mac(key=b"other"), mac(at=2), mac(previous="1" * 64)}) == 4


def test_two_fields_cannot_flow_into_each_other() -> None:
    one = replace(EVENT, actor="ab", clinic_id="c")
    other = replace(EVENT, actor="a", clinic_id="bc")
    assert mac(one) != mac(other)


def test_every_action_reads_subject_and_what_happened() -> None:
    for action in AuditAction:
        subject, _, happened = action.partition(":")
        assert subject
        assert happened
    assert all(len(action) <= 60 for action in AuditAction)


def test_the_zone_of_a_time_is_part_of_the_entry() -> None:
    elsewhere = replace(EVENT, at=AT.astimezone(timezone(timedelta(hours=1))))
    assert mac(elsewhere) != mac()
