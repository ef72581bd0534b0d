"""Who may do what, as one table; everything that the table does not name is denied."""

from dataclasses import replace
from itertools import product

import pytest

from clinic.access import STAFF, Actor, CaseFacts, Permission, Role, SecondReader, may
from clinic.ehr_client import EhrClient

ALICE = Actor("account-alice", Role.PATIENT, "clinic-1", "patient-alice")
CAROL = Actor("account-carol", Role.PATIENT, "clinic-1", "patient-carol")
BOB = Actor("account-bob", Role.DERMATOLOGIST, "clinic-1")
DAN = Actor("account-dan", Role.DERMATOLOGIST, "clinic-1")
ERIN = Actor("account-erin", Role.ADMINISTRATOR, "clinic-1")
FRANK = Actor("account-frank", Role.DERMATOLOGIST, "clinic-2")
GRACE = Actor("account-grace", Role.AUDITOR, "clinic-1")
CAST = {
    "alice": ALICE,
    "carol": CAROL,
    "bob": BOB,
    "dan": DAN,
    "erin": ERIN,
    "frank": FRANK,
    "grace": GRACE,
}
HOSPITAL = EhrClient(id="hospital", clinic_id="clinic-1", scopes=frozenset({"system/Patient.r"}))

FREE = CaseFacts("patient-alice", "clinic-1", None, None, signed=False)
CLAIMED = replace(FREE, claimed_by=BOB.user_id)
READ = replace(CLAIMED, first_read_by=BOB.user_id)
SIGNED = replace(READ, signed=True)
CASES = {"free": FREE, "claimed": CLAIMED, "read": READ, "signed": SIGNED}

OWN_CASE = {
    Permission.SEE_OWN_STATUS,
    Permission.SEE_OWN_PHOTOS,
    Permission.REPLACE_PHOTOS,
    Permission.EXCHANGE_MESSAGES,
}
SECOND_READS = {Permission.SEE_IN_QUEUE, Permission.SEE_PHOTOS, Permission.SEE_CASE}
HOLDS = SECOND_READS | {
    Permission.READ_CASE,
    Permission.SEE_OPINIONS,
    Permission.EXCHANGE_MESSAGES,
}
ALLOWED = {
    ("alice", "free"): OWN_CASE,
    ("alice", "claimed"): OWN_CASE,
    ("alice", "read"): OWN_CASE,
    ("alice", "signed"): {
        Permission.SEE_OWN_STATUS,
        Permission.SEE_OWN_PHOTOS,
        Permission.SEE_SIGNED_RESULT,
        Permission.EXCHANGE_MESSAGES,
    },
    ("bob", "free"): {Permission.SEE_IN_QUEUE},
    ("bob", "claimed"): HOLDS,
    ("bob", "read"): HOLDS
    | {Permission.SEE_COMPUTER_VIEW, Permission.WRITE_DRAFT, Permission.SIGN},
    ("bob", "signed"): HOLDS
    | {Permission.SEE_COMPUTER_VIEW, Permission.WRITE_DRAFT}
    | {Permission.CHANGE_REPORT, Permission.ADD_PATHOLOGY},
    ("erin", "free"): {Permission.RETRY_SCREENING},
    ("erin", "signed"): {Permission.EXPORT_FOR_TRAINING},
    **{("dan", case): {Permission.SEE_IN_QUEUE} for case in CASES},
    ("dan", "signed"): {Permission.SEE_IN_QUEUE, Permission.ADD_PATHOLOGY},
}
OWN_RECORD = {
    Permission.KEEP_OWN_RECORD,
    Permission.SEND_SUBMISSION,
    Permission.ASK_FOR_PICTURES,
}
READS = {Permission.SEE_QUEUE, Permission.ASK_FOR_PICTURES, Permission.SEE_READING}
WITHOUT_CASE = {
    "alice": OWN_RECORD,
    "carol": OWN_RECORD,
    "bob": READS,
    "dan": READS,
    "frank": READS,
    "erin": {
        Permission.SEE_OPERATIONS,
        Permission.SEE_READING,
        Permission.OPERATE,
        Permission.MANAGE_PEOPLE,
        Permission.DECIDE_ON_ERASURE,
        Permission.SET_SERVICE_TIMES,
    },
    "grace": {Permission.SEE_OPERATIONS, Permission.SEARCH_AUDIT},
}


@pytest.mark.parametrize(("name", "case"), list(product(CAST, CASES)))
def test_on_a_case_each_may_do_what_the_table_says_and_nothing_else(name: str, case: str) -> None:
    allowed = {one for one in Permission if may(CAST[name], one, CASES[case])}
    assert allowed == ALLOWED.get((name, case), set())


@pytest.mark.parametrize("name", CAST)
def test_without_a_case_each_may_do_what_the_table_says(name: str) -> None:
    assert {one for one in Permission if may(CAST[name], one)} == WITHOUT_CASE[name]


@pytest.mark.parametrize(("name", "case"), list(product(CAST, CASES)))
def test_another_clinic_sees_nothing(name: str, case: str) -> None:
    moved = replace(CAST[name], clinic_id="clinic-3")
    assert not any(may(moved, one, CASES[case]) for one in Permission)


def test_a_patient_without_a_record_has_no_case() -> None:
    nobody = replace(ALICE, patient_id=None)
    assert not any(may(nobody, one, FREE) for one in Permission)


@pytest.mark.parametrize("case", CASES)
def test_who_reads_a_later_visit_sees_the_photos_of_an_earlier_one_and_nothing_else_of_it(
    case: str,
) -> None:
    earlier = replace(CASES[case], compared_by=frozenset({DAN.user_id}))
    allowed = {one for one in Permission if may(DAN, one, earlier)}
    assert allowed == ALLOWED["dan", case] | {Permission.SEE_PHOTOS}
    for name in ("carol", "erin", "frank", "grace"):
        watched = replace(earlier, compared_by=frozenset({CAST[name].user_id}))
        assert not may(CAST[name], Permission.SEE_PHOTOS, watched)


def test_the_computer_s_view_needs_this_reader_s_own_first_read() -> None:
    read_by_dan = replace(CLAIMED, first_read_by=DAN.user_id)
    assert not may(BOB, Permission.SEE_COMPUTER_VIEW, read_by_dan)
    assert not may(BOB, Permission.SIGN, read_by_dan)


@pytest.mark.parametrize(
    ("blind", "done", "more"),
    [
        (True, False, set()),
        (False, False, {Permission.SEE_OPINIONS}),
        (True, True, {Permission.SEE_OPINIONS, Permission.SEE_COMPUTER_VIEW}),
    ],
)
@pytest.mark.parametrize("case", CASES)
def test_a_second_reader_sees_the_case_and_opinions_and_computer_in_their_turn(
    case: str, *, blind: bool, done: bool, more: set[Permission]
) -> None:
    at_it = SecondReader(DAN.user_id, blind=blind, done=done)
    facts = replace(CASES[case], second_readers=(at_it,))
    assert {one for one in Permission if may(DAN, one, facts)} == ALLOWED[
        "dan", case
    ] | SECOND_READS | more
    assert {one for one in Permission if may(BOB, one, facts)} == ALLOWED["bob", case]


def test_while_new_photos_are_waited_for_the_reader_who_asked_answers_messages() -> None:
    waits = replace(FREE, photos_asked_by=BOB.user_id)
    allowed = {one for one in Permission if may(BOB, one, waits)}
    assert allowed == {Permission.SEE_IN_QUEUE, Permission.EXCHANGE_MESSAGES}
    assert not may(DAN, Permission.EXCHANGE_MESSAGES, waits)


def test_a_record_system_reads_what_its_scopes_name() -> None:
    def reads(client: EhrClient, scope: str | None) -> bool:
        return may(client, Permission.READ_SIGNED_REPORTS, scope=scope)

    assert reads(HOSPITAL, "system/Patient.r")
    assert not reads(HOSPITAL, "system/Patient.s")
    assert not reads(HOSPITAL, "system/Media.r")
    assert not reads(replace(HOSPITAL, scopes=frozenset({"user/Patient.r"})), None)


@pytest.mark.parametrize("case", CASES)
def test_a_record_system_reads_signed_cases_of_its_own_clinic_and_does_nothing_else(
    case: str,
) -> None:
    elsewhere = replace(HOSPITAL, clinic_id="clinic-2")
    allowed = {one for one in Permission if may(HOSPITAL, one, CASES[case])}
    assert allowed == ({Permission.READ_SIGNED_REPORTS} if case == "signed" else set())
    assert not any(may(elsewhere, one, CASES[case]) for one in Permission)
    assert {one for one in Permission if may(HOSPITAL, one)} == {Permission.READ_SIGNED_REPORTS}


@pytest.mark.parametrize("name", CAST)
def test_a_person_has_no_scopes(name: str) -> None:
    scope = "system/Patient.r"
    assert not any(may(CAST[name], one, scope=scope) for one in Permission)
    assert not any(may(CAST[name], one, SIGNED, scope=scope) for one in Permission)


def test_staff_is_everybody_but_patients() -> None:
    assert set(Role) - STAFF == {Role.PATIENT}
