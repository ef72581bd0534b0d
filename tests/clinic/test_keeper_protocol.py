"""How the keeper decides: every purpose, every refusal, and nobody without a rule gets a key."""

from dataclasses import replace
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clinic.access import STAFF, Actor, CaseFacts, Role, SecondReader
from clinic.ehr_client import EhrClient
from clinic.keeper_protocol import (
    HOURLY_CAP,
    KeyPurpose,
    ObjectKind,
    RequestFacts,
    WantedObject,
    enrolment_mac,
    refusal,
)

PATIENT, CASE, CLINIC = "patient-alice", "case-1", "clinic-1"
ALICE = Actor("account-alice", Role.PATIENT, CLINIC, PATIENT)
ERIN = Actor("account-erin", Role.ADMINISTRATOR, CLINIC)
BOB = Actor("account-bob", Role.DERMATOLOGIST, CLINIC)
CLAIMED = CaseFacts(PATIENT, CLINIC, BOB.user_id, None, signed=False)
READ = replace(CLAIMED, first_read_by=BOB.user_id)
SIGNED = replace(READ, signed=True)
HOSPITAL = EhrClient(id="hospital", clinic_id=CLINIC, scopes=frozenset({"system/*.rs"}))


def wanted(
    *kinds: ObjectKind, case: str | None = CASE, patient: str = PATIENT
) -> tuple[WantedObject, ...]:
    return tuple(
        WantedObject(kind, patient, None if kind is ObjectKind.IDENTITY else case) for kind in kinds
    )


SCREENING = RequestFacts(
    purpose=KeyPurpose.SCREENING,
    expired=False,
    objects=wanted(ObjectKind.PHOTO, ObjectKind.HISTORY),
    process_enrolled=True,
    case=replace(CLAIMED, claimed_by=None),
    submission_id=CASE,
    holds_lease=True,
)
READER = RequestFacts(
    purpose=KeyPurpose.VIEW,
    expired=False,
    objects=wanted(ObjectKind.RENDITION),
    actor=BOB,
    case=CLAIMED,
    submission_id=CASE,
)
OWNER = replace(READER, actor=ALICE, objects=wanted(ObjectKind.PHOTO))
TEXT = replace(
    READER,
    purpose=KeyPurpose.TEXT,
    process_enrolled=True,
    objects=wanted(ObjectKind.HISTORY, ObjectKind.IDENTITY),
)
EHR = RequestFacts(
    purpose=KeyPurpose.EHR,
    expired=False,
    objects=wanted(ObjectKind.IDENTITY, ObjectKind.FINDING, ObjectKind.LETTER),
    process_enrolled=True,
    case=SIGNED,
    submission_id=CASE,
    ehr_client=HOSPITAL,
)
TRAINING = RequestFacts(
    purpose=KeyPurpose.TRAINING,
    expired=False,
    objects=wanted(ObjectKind.RENDITION, ObjectKind.HISTORY),
    process_enrolled=True,
    actor=ERIN,
    case=SIGNED,
    submission_id=CASE,
    research_permitted=True,
)
GRANTED = {
    "screening": SCREENING,
    "reader": READER,
    "owner": OWNER,
    "text": TEXT,
    "ehr": EHR,
    "training": TRAINING,
}


@pytest.mark.parametrize("facts", GRANTED.values(), ids=list(GRANTED))
def test_who_has_a_rule_is_granted(facts: RequestFacts) -> None:
    assert refusal(facts) is None


@pytest.mark.parametrize("facts", GRANTED.values(), ids=list(GRANTED))
def test_an_old_request_is_refused(facts: RequestFacts) -> None:
    assert refusal(replace(facts, expired=True)) == "the request is too old"


@pytest.mark.parametrize("facts", GRANTED.values(), ids=list(GRANTED))
def test_a_request_that_names_nothing_is_refused(facts: RequestFacts) -> None:
    assert refusal(replace(facts, objects=())) == "no object was named"


@pytest.mark.parametrize(
    "facts", [SCREENING, TEXT, EHR, TRAINING], ids=["screening", "text", "ehr", "training"]
)
def test_a_process_that_is_not_enrolled_is_refused(facts: RequestFacts) -> None:
    assert refusal(replace(facts, process_enrolled=False)) == "the process is not enrolled"


@pytest.mark.parametrize(
    "facts", [READER, OWNER, TEXT, EHR], ids=["reader", "owner", "text", "ehr"]
)
def test_the_hourly_cap_holds_for_people_and_record_systems(facts: RequestFacts) -> None:
    assert refusal(replace(facts, requests_last_hour=HOURLY_CAP)) is None
    assert "too many" in (refusal(replace(facts, requests_last_hour=HOURLY_CAP + 1)) or "")


def test_a_worker_is_not_slowed_by_the_cap() -> None:
    assert refusal(replace(SCREENING, requests_last_hour=HOURLY_CAP * 9)) is None


def test_a_worker_without_the_lease_is_refused() -> None:
    assert "does not hold" in (refusal(replace(SCREENING, holds_lease=False)) or "")


@pytest.mark.parametrize("kind", set(ObjectKind) - {ObjectKind.PHOTO, ObjectKind.HISTORY})
def test_a_worker_opens_only_what_it_analyses(kind: ObjectKind) -> None:
    assert "not part" in (refusal(replace(SCREENING, objects=wanted(kind))) or "")


@pytest.mark.parametrize("facts", GRANTED.values(), ids=list(GRANTED))
def test_one_object_of_another_case_spoils_the_whole_request(facts: RequestFacts) -> None:
    foreign = wanted(ObjectKind.PHOTO, ObjectKind.LETTER, case="case-2")
    for one in foreign:
        assert refusal(replace(facts, objects=(*facts.objects, one))) is not None


@pytest.mark.parametrize("facts", [TEXT, EHR], ids=["text", "ehr"])
def test_the_identity_of_another_patient_is_refused(facts: RequestFacts) -> None:
    foreign = wanted(ObjectKind.IDENTITY, patient="patient-carol")
    assert refusal(replace(facts, objects=foreign)) is not None


def test_a_record_system_of_another_clinic_is_refused() -> None:
    elsewhere = replace(HOSPITAL, clinic_id="clinic-2")
    assert "its own clinic" in (refusal(replace(EHR, ehr_client=elsewhere)) or "")


def test_a_record_system_that_is_not_registered_or_names_no_case_is_refused() -> None:
    assert "not registered" in (refusal(replace(EHR, ehr_client=None)) or "")
    assert "names no case" in (refusal(replace(EHR, case=None)) or "")


def test_a_record_system_without_a_scope_opens_nothing() -> None:
    nothing = replace(HOSPITAL, scopes=frozenset({"patient/*.rs", "nonsense"}))
    assert "within its scopes" in (refusal(replace(EHR, ehr_client=nothing)) or "")


def test_a_record_system_reads_signed_cases_only() -> None:
    assert "signed cases" in (refusal(replace(EHR, case=READ)) or "")


@pytest.mark.parametrize(
    "kind", [ObjectKind.PHOTO, ObjectKind.RENDITION, ObjectKind.HEATMAP, ObjectKind.HISTORY]
)
def test_a_record_system_gets_the_report_and_no_picture(kind: ObjectKind) -> None:
    assert "not part of a report" in (refusal(replace(EHR, objects=wanted(kind))) or "")


def test_an_export_opens_no_case_that_is_not_signed() -> None:
    for case in (CLAIMED, READ, None):
        assert "signed cases" in (refusal(replace(TRAINING, case=case)) or "")


def test_an_export_opens_no_case_of_a_patient_who_does_not_permit_research() -> None:
    asked = replace(TRAINING, research_permitted=False)
    assert refusal(asked) == "the patient does not permit research"


@pytest.mark.parametrize("actor", [ALICE, BOB, replace(ERIN, clinic_id="clinic-2")])
def test_only_an_administrator_of_the_clinic_exports(actor: Actor) -> None:
    assert "only an administrator" in (refusal(replace(TRAINING, actor=actor)) or "")


def test_an_export_ends_with_the_session_of_its_administrator() -> None:
    assert refusal(replace(TRAINING, actor=None)) == "the login session has ended"


@pytest.mark.parametrize("kind", set(ObjectKind) - {ObjectKind.RENDITION, ObjectKind.HISTORY})
def test_an_export_opens_clean_pictures_and_the_history_only(kind: ObjectKind) -> None:
    assert "not part of a training" in (refusal(replace(TRAINING, objects=wanted(kind))) or "")


def test_an_export_is_not_slowed_by_the_cap() -> None:
    assert refusal(replace(TRAINING, requests_last_hour=HOURLY_CAP * 9)) is None


@pytest.mark.parametrize("purpose", [KeyPurpose.VIEW, KeyPurpose.TEXT])
def test_what_an_export_may_open_an_administrator_may_not_look_at(purpose: KeyPurpose) -> None:
    assert refusal(replace(TRAINING, purpose=purpose)) is not None


@pytest.mark.parametrize("kind", [ObjectKind.PHOTO, ObjectKind.RENDITION, ObjectKind.HEATMAP])
@pytest.mark.parametrize(("actor", "case"), [(ALICE, SIGNED), (BOB, SIGNED)])
def test_the_web_process_opens_no_picture_for_anybody(
    kind: ObjectKind, actor: Actor, case: CaseFacts
) -> None:
    asked = replace(TEXT, actor=actor, case=case, objects=wanted(kind))
    assert refusal(asked) == "the web process opens no picture"


def test_an_ended_session_is_refused() -> None:
    assert refusal(replace(READER, actor=None)) == "the login session has ended"


def test_the_computer_s_view_comes_after_the_reader_s_own() -> None:
    heat_map = replace(READER, objects=wanted(ObjectKind.HEATMAP))
    assert refusal(heat_map) == "dermatologist may not open heatmap"
    assert refusal(replace(heat_map, case=READ)) is None
    other = replace(CLAIMED, first_read_by="account-dan")
    assert refusal(replace(heat_map, case=other)) is not None


def test_a_reader_without_the_claim_opens_nothing() -> None:
    for claimed_by in (None, "account-dan"):
        case = replace(SIGNED, claimed_by=claimed_by)
        for kind in ObjectKind:
            assert refusal(replace(READER, case=case, objects=wanted(kind))) is not None


def test_a_reader_of_a_later_visit_opens_the_photos_of_an_earlier_one_alone() -> None:
    earlier = replace(SIGNED, claimed_by="account-dan", compared_by=frozenset({BOB.user_id}))
    for kind in set(ObjectKind) - {ObjectKind.PHOTO}:
        asked = replace(READER, case=earlier, objects=wanted(kind))
        assert (refusal(asked) is None) is (kind is ObjectKind.RENDITION), kind


def test_a_reader_sees_the_original_only_where_no_rendition_can_be() -> None:
    original = replace(READER, objects=wanted(ObjectKind.PHOTO))
    assert refusal(original) is not None
    assert refusal(replace(original, ai_unavailable=True)) is None


@pytest.mark.parametrize(
    ("kind", "before", "after"),
    [
        (ObjectKind.PHOTO, True, True),
        (ObjectKind.RENDITION, True, True),
        (ObjectKind.HISTORY, True, True),
        (ObjectKind.IDENTITY, True, True),
        (ObjectKind.LETTER, False, True),
        (ObjectKind.RETAKE, True, True),
        (ObjectKind.FINDING, False, False),
        (ObjectKind.HEATMAP, False, False),
        (ObjectKind.MESSAGE, True, True),
        (ObjectKind.QUESTION, False, False),
        (ObjectKind.NOTE, False, False),
    ],
)
def test_what_a_patient_opens_before_and_after_the_signature(
    kind: ObjectKind, *, before: bool, after: bool
) -> None:
    own = replace(OWNER, objects=wanted(kind))
    assert (refusal(own) is None) is before
    assert (refusal(replace(own, case=SIGNED)) is None) is after


OPINIONS = (ObjectKind.NOTE, ObjectKind.FINDING, ObjectKind.LETTER)
THE_CASE = (ObjectKind.RENDITION, ObjectKind.HISTORY, ObjectKind.QUESTION)


def opens(facts: RequestFacts, kind: ObjectKind) -> bool:
    purpose = (
        KeyPurpose.VIEW if kind in {ObjectKind.RENDITION, ObjectKind.HEATMAP} else KeyPurpose.TEXT
    )
    return refusal(replace(facts, purpose=purpose, objects=wanted(kind))) is None


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize(("blind", "done"), [(True, False), (False, False), (True, True)])
def test_a_second_reader_opens_the_case_and_no_opinion_before_the_own_one(
    *, signed: bool, blind: bool, done: bool
) -> None:
    dan = replace(BOB, user_id="account-dan")
    at_it = SecondReader(dan.user_id, blind=blind, done=done)
    case = replace(READ, signed=signed, second_readers=(at_it,))
    facts = replace(TEXT, actor=dan, case=case)
    assert all(opens(facts, kind) for kind in THE_CASE)
    assert [opens(facts, kind) for kind in OPINIONS] == [done or not blind] * len(OPINIONS)
    assert opens(facts, ObjectKind.HEATMAP) is done
    assert not opens(facts, ObjectKind.MESSAGE)
    nobody = replace(facts, case=replace(case, second_readers=()))
    assert not any(opens(nobody, kind) for kind in ObjectKind)


def test_while_new_photos_are_waited_for_the_reader_who_asked_opens_messages_alone() -> None:
    case = replace(CLAIMED, claimed_by=None, photos_asked_by=BOB.user_id)
    facts = replace(TEXT, case=case)
    assert [kind for kind in ObjectKind if opens(facts, kind)] == [ObjectKind.MESSAGE]


def test_another_patient_opens_nothing() -> None:
    carol = Actor("account-carol", Role.PATIENT, CLINIC, "patient-carol")
    for kind, case in product(ObjectKind, (CLAIMED, SIGNED)):
        facts = replace(OWNER, actor=carol, case=case, objects=wanted(kind))
        assert refusal(facts) is not None


def test_without_a_case_a_patient_opens_their_own_identity_only() -> None:
    own = replace(
        TEXT, actor=ALICE, case=None, submission_id=None, objects=wanted(ObjectKind.IDENTITY)
    )
    assert refusal(own) is None
    assert refusal(replace(own, actor=BOB)) is not None
    assert refusal(replace(own, objects=wanted(ObjectKind.HISTORY))) is not None
    foreign = wanted(ObjectKind.IDENTITY, patient="patient-carol")
    assert refusal(replace(own, objects=foreign)) is not None


@pytest.mark.parametrize("role", sorted(STAFF - {Role.DERMATOLOGIST}))
@pytest.mark.parametrize("kind", ObjectKind)
@pytest.mark.parametrize("purpose", [KeyPurpose.VIEW, KeyPurpose.TEXT])
@pytest.mark.parametrize("case", [CLAIMED, READ, SIGNED], ids=["claimed", "read", "signed"])
def test_administrators_and_auditors_get_no_key_of_a_picture_or_text(
    role: Role, kind: ObjectKind, purpose: KeyPurpose, case: CaseFacts
) -> None:
    holder = replace(BOB, role=role)  # even one who somehow holds the case
    facts = replace(TEXT, actor=holder, purpose=purpose, case=case, objects=wanted(kind))
    assert refusal(facts) is not None


def mostly(usual: object, *others: object) -> st.SearchStrategy[object]:
    """Near to what is granted, so that most examples reach the rule that matters."""
    return st.sampled_from([usual] * 4 + list(others))


SCOPES = (frozenset({"system/*.rs"}), frozenset({"system/Patient.r"}), frozenset())
people = st.builds(
    Actor,
    user_id=mostly("u1", "u2"),
    role=st.sampled_from(Role),
    clinic_id=mostly("c1", "c2"),
    patient_id=mostly("a", "b", None),
)
cases = st.builds(
    CaseFacts,
    patient_id=mostly("a", "b"),
    clinic_id=mostly("c1", "c2"),
    claimed_by=mostly("u1", "u2", None),
    first_read_by=mostly("u1", "u2", None),
    signed=st.booleans(),
    compared_by=mostly(frozenset(), frozenset({"u1"})),
)
objects = st.builds(
    WantedObject, st.sampled_from(ObjectKind), mostly("a", "b"), mostly("s1", "s2", None)
)
anything = st.builds(
    RequestFacts,
    purpose=st.sampled_from(KeyPurpose),
    expired=mostly(False, True),
    objects=st.lists(objects, max_size=2).map(tuple),
    requests_last_hour=mostly(HOURLY_CAP, HOURLY_CAP + 1),
    process_enrolled=mostly(True, False),
    actor=people | st.none(),
    case=cases | st.none(),
    submission_id=mostly("s1", "s2", None),
    ai_unavailable=st.booleans(),
    ehr_client=st.builds(
        EhrClient, id=st.just("e"), clinic_id=mostly("c1", "c2"), scopes=mostly(*SCOPES)
    )
    | st.none(),
    holds_lease=st.booleans(),
    research_permitted=mostly(True, False),
)


@settings(max_examples=800, deadline=None)
@given(anything)
def test_nobody_without_a_rule_gets_a_key(facts: RequestFacts) -> None:
    """Whatever is granted has one of five good reasons, said here in other words than the rule."""
    if refusal(facts) is not None:
        return
    assert facts.objects
    assert not facts.expired
    in_case = {one.submission_id for one in facts.objects if one.kind is not ObjectKind.IDENTITY}
    assert in_case <= {facts.submission_id} - {None}
    if facts.purpose is KeyPurpose.SCREENING:
        assert facts.holds_lease
        assert facts.process_enrolled
        return
    if facts.purpose is KeyPurpose.EHR:
        assert facts.process_enrolled
        assert facts.case is not None
        assert facts.case.signed
        assert facts.ehr_client is not None
        assert facts.ehr_client.scopes
        assert facts.ehr_client.clinic_id == facts.case.clinic_id
        return
    actor = facts.actor
    assert actor is not None
    if facts.purpose is KeyPurpose.TRAINING:
        assert facts.process_enrolled
        assert facts.research_permitted
        assert facts.case is not None
        assert facts.case.signed
        assert (actor.role, actor.clinic_id) == (Role.ADMINISTRATOR, facts.case.clinic_id)
        return
    assert actor.role in {Role.PATIENT, Role.DERMATOLOGIST}
    owner = facts.case.patient_id if facts.case else facts.objects[0].patient_id
    identities = {one.patient_id for one in facts.objects if one.kind is ObjectKind.IDENTITY}
    assert identities <= {owner}
    if actor.role is Role.PATIENT:
        assert actor.patient_id == owner
        opened = {one.kind for one in facts.objects}
        assert not {ObjectKind.HEATMAP, ObjectKind.FINDING} & opened
        assert ObjectKind.LETTER not in opened or (facts.case is not None and facts.case.signed)
    else:
        assert facts.case is not None
        assert facts.case.clinic_id == actor.clinic_id
        if facts.case.claimed_by != actor.user_id:
            assert actor.user_id in facts.case.compared_by
            assert {one.kind for one in facts.objects} <= {ObjectKind.PHOTO, ObjectKind.RENDITION}


def test_an_enrolment_is_bound_to_process_program_and_key() -> None:
    def mac(
        secret: bytes = b"s", process_id: str = "1", program: str = "web", key: bytes = b"k"
    ) -> str:
        return enrolment_mac(secret, process_id=process_id, program=program, public_key=key)

    macs = {mac(), mac(b"t"), mac(process_id="2"), mac(program="worker"), mac(key=b"l")}
    assert len(macs) == 5
