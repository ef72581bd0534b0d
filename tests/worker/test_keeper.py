"""The keeper at work: each kind of recipient granted and refused; no answer holds a plain key."""

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from sqlalchemy import delete, select, update

from clinic.audit_event import AuditAction
from clinic.envelope import parse_header, unwrap
from clinic.keeper_protocol import RECIPIENT_KID, KeyPurpose, ObjectKind
from clinic.master_key import LocalMasterKey, MasterKeyError
from clinic.records import (
    accounts,
    ehr_clients,
    key_requests,
    keys,
    review_queue,
    screening_queue,
    sealed_objects,
)
from clinic.records.db import database_now
from clinic.records.key_requests import NewKeyRequest
from clinic.records.keys import ProcessIdentity
from clinic.records.models import (
    Account,
    AuditEntry,
    EhrClient,
    EpochKeyRow,
    KeyRequest,
    LoginSession,
    PatientKey,
    ProcessKey,
    SealedObject,
    Submission,
)
from clinic.records.sealed_objects import Place
from tests.portal_tools import attach
from tests.world import Person, World

LEASE = timedelta(seconds=30)


@dataclass
class Asker:
    """Somebody with a key pair who asks the keeper."""

    world: World
    private: X25519PrivateKey

    @classmethod
    def page(cls, world: World) -> "Asker":
        return cls(world, X25519PrivateKey.generate())

    @property
    def public(self) -> bytes:
        return self.private.public_key().public_bytes_raw()

    def ask(self, new: NewKeyRequest) -> KeyRequest:
        """The request row after the keeper saw it."""
        with self.world.sessions() as session, session.begin():
            request_id = key_requests.ask(session, new).id
        self.world.keeper.answer(request_id)
        return request(self.world, request_id)

    def opens(self, asked: KeyRequest) -> dict[str, bytes]:
        """What the asker reads with the answer, by kind."""
        assert asked.answer is not None, asked.refusal
        opened = {}
        with self.world.sessions() as session:
            for object_id, header in asked.answer.items():
                row = session.get_one(SealedObject, object_id)
                file_key = unwrap(parse_header(header), kid=RECIPIENT_KID, private_key=self.private)
                opened[row.kind] = sealed_objects.open_object(
                    row, self.world.blobs, file_key=file_key
                )
        return opened


def request(world: World, request_id: str) -> KeyRequest:
    with world.sessions() as session:
        found = key_requests.find(session, request_id)
    assert found is not None
    return found


def objects(world: World, case: str, *kinds: ObjectKind) -> tuple[str, ...]:
    with world.sessions() as session:
        return tuple(row.id for row in sealed_objects.of_submission(session, case, kinds))


def change(world: World, statement: object) -> None:
    with world.sessions() as session, session.begin():
        session.execute(statement)  # type: ignore[call-overload]


def login(world: World, person: Person) -> str:
    with world.sessions() as session, session.begin():
        account = session.get_one(Account, person.account_id)
        token = accounts.start_login(session, account, second_factor=True)
        found = accounts.live_login(session, token)
        assert found is not None
        return found.id


def enrolled(world: World, program: str) -> ProcessIdentity:
    with world.sessions() as session, session.begin():
        return keys.enrol_process(session, world.enrolment_key, program=program)


def view(
    world: World, asker: Asker, person: Person, case: str, *kinds: ObjectKind
) -> NewKeyRequest:
    return NewKeyRequest(
        purpose=KeyPurpose.VIEW,
        object_ids=objects(world, case, *kinds),
        recipient_key=asker.public,
        login_session_id=login(world, person),
        submission_id=case,
    )


def screening(world: World, process: ProcessIdentity) -> tuple[str, NewKeyRequest]:
    case = world.submit(world.alice)
    with world.sessions() as session, session.begin():
        (held,) = screening_queue.claim_batch(session, hint=case, lease=LEASE, limit=1)
    wanted = NewKeyRequest(
        purpose=KeyPurpose.SCREENING,
        object_ids=objects(world, case, ObjectKind.PHOTO, ObjectKind.HISTORY),
        recipient_key=process.private_key.public_key().public_bytes_raw(),
        process_id=process.id,
        submission_id=case,
        token=held.token,
    )
    return case, wanted


def ehr(world: World, process: ProcessIdentity, case: str, clinic_id: str) -> NewKeyRequest:
    with world.sessions() as session, session.begin():
        client = ehr_clients.register(session, clinic_id=clinic_id, name="Hospital").client_id
    return NewKeyRequest(
        purpose=KeyPurpose.EHR,
        object_ids=objects(world, case, ObjectKind.FINDING, ObjectKind.LETTER),
        recipient_key=process.private_key.public_key().public_bytes_raw(),
        process_id=process.id,
        ehr_client_id=client,
        submission_id=case,
    )


def test_a_worker_with_the_lease_opens_photo_and_history(world: World) -> None:
    process = enrolled(world, "worker")
    worker = Asker(world, process.private_key)
    _, wanted = screening(world, process)

    opened = worker.opens(worker.ask(wanted))

    assert opened[ObjectKind.PHOTO].startswith(b"\xff\xd8")
    assert json.loads(opened[ObjectKind.HISTORY])["age"] == 52


SPOILED: dict[str, tuple[Callable[[World, NewKeyRequest], NewKeyRequest], str]] = {
    "foreign token": (lambda _, asked: replace(asked, token="0" * 32), "does not hold"),
    "no token": (lambda _, asked: replace(asked, token=None), "does not hold"),
    "another case's lease": (
        lambda world, asked: replace(asked, submission_id=world.submit(world.carol)),
        "does not hold",
    ),
    "no process": (lambda _, asked: replace(asked, process_id=None), "not enrolled"),
    "another process's key": (
        lambda world, asked: replace(asked, recipient_key=Asker.page(world).public),
        "not enrolled",
    ),
    "web process": (
        lambda world, asked: replace(asked, process_id=enrolled(world, "web").id),
        "not enrolled",
    ),
    "unknown object": (
        lambda _, asked: replace(asked, object_ids=(*asked.object_ids, "0" * 32)),
        "no object was named",
    ),
    "another case's photo": (
        lambda world, asked: replace(
            asked,
            object_ids=objects(world, world.submit(world.carol), ObjectKind.PHOTO),
        ),
        "not part of the submission's input",
    ),
}


@pytest.mark.parametrize(("spoil", "words"), SPOILED.values(), ids=list(SPOILED))
def test_a_worker_s_spoiled_request_is_refused(
    world: World, spoil: Callable[[World, NewKeyRequest], NewKeyRequest], words: str
) -> None:
    process = enrolled(world, "worker")
    _, wanted = screening(world, process)

    answered = Asker(world, process.private_key).ask(spoil(world, wanted))

    assert answered.answer is None
    assert words in (answered.refusal or "")


def test_a_process_that_only_wrote_its_row_is_not_enrolled(world: World) -> None:
    """Whoever can write to the database but has no enrolment secret gets nothing."""
    with world.sessions() as session, session.begin():
        intruder = keys.enrol_process(session, b"another secret", program="worker")
    _, wanted = screening(world, intruder)

    answered = Asker(world, intruder.private_key).ask(wanted)

    assert answered.refusal == "the process is not enrolled"


def test_a_web_process_gets_no_worker_s_keys_and_a_worker_no_reader_s(world: World) -> None:
    web, worker = enrolled(world, "web"), enrolled(world, "worker")
    _, wanted = screening(world, web)
    assert Asker(world, web.private_key).ask(wanted).refusal == "the process is not enrolled"

    report = ehr(world, worker, world.signed(world.carol, world.bob), world.clinic_id)
    assert Asker(world, worker.private_key).ask(report).refusal == "the process is not enrolled"


def test_a_changed_public_key_ends_an_enrolment(world: World) -> None:
    process = enrolled(world, "worker")
    _, wanted = screening(world, process)
    thief = Asker.page(world)
    change(
        world,
        update(ProcessKey).where(ProcessKey.id == process.id).values(public_key=thief.public),
    )
    assert thief.ask(replace(wanted, recipient_key=thief.public)).state == "refused"


def test_a_lease_that_ran_out_opens_nothing(world: World) -> None:
    process = enrolled(world, "worker")
    case, wanted = screening(world, process)
    with world.sessions() as session:
        past = database_now(session) - timedelta(seconds=1)
    change(world, update(Submission).where(Submission.id == case).values(lease_until=past))

    assert Asker(world, process.private_key).ask(wanted).state == "refused"


def test_a_patient_s_page_opens_their_own_photos(world: World) -> None:
    case, page = world.screened(world.alice), Asker.page(world)
    asked = page.ask(view(world, page, world.alice, case, ObjectKind.RENDITION))
    assert page.opens(asked)[ObjectKind.RENDITION].startswith(b"\xff\xd8")


def test_another_patient_s_page_opens_nothing(world: World) -> None:
    case, page = world.screened(world.alice), Asker.page(world)
    asked = page.ask(view(world, page, world.carol, case, ObjectKind.RENDITION))
    assert (asked.state, asked.answer) == ("refused", None)


@pytest.mark.parametrize("name", ["dan", "erin", "frank"])
def test_whoever_has_not_claimed_the_case_opens_nothing(world: World, name: str) -> None:
    case, page = world.first_read(world.alice, world.bob), Asker.page(world)
    for kind in (ObjectKind.RENDITION, ObjectKind.HEATMAP):
        asked = page.ask(view(world, page, world.people[name], case, kind))
        assert asked.refusal == f"{world.people[name].role} may not open {kind}"


@pytest.mark.parametrize("name", ["erin", "grace", "frank"])
def test_administrators_auditors_and_other_clinics_get_no_key_of_any_object(
    world: World, name: str
) -> None:
    case, page, web = (
        world.signed(world.alice, world.bob),
        Asker.page(world),
        enrolled(world, "web"),
    )
    public = web.private_key.public_key().public_bytes_raw()
    with world.sessions() as session, session.begin():
        recipient = keys.sealing_recipient(session, world.root_public_key)
        for kind in (
            *(ObjectKind.RETAKE, ObjectKind.DRAFT),
            *(ObjectKind.GP_LETTER, ObjectKind.PATHOLOGY),
        ):
            place = Place(world.alice.patient_id or "", case, kind)
            sealed_objects.add_text(session, world.blobs, place, "Words.", recipient=recipient)
    attach(world, case)
    world.ask_second(case, world.bob)
    world.message(case, world.alice, "A message.")
    world.note(case, world.bob, "A note.")
    for kind in ObjectKind:
        wanted = view(world, page, world.people[name], case, kind)
        if kind is ObjectKind.IDENTITY:
            with world.sessions() as session:
                one = sealed_objects.identity_of(session, world.alice.patient_id or "")
            wanted = replace(wanted, object_ids=(one.id if one else "",))
        assert wanted.object_ids
        as_text = replace(wanted, purpose=KeyPurpose.TEXT, process_id=web.id, recipient_key=public)
        for asked in (wanted, as_text):
            answered = page.ask(asked)
            assert (answered.state, answered.answer) == ("refused", None), kind


def test_the_heat_map_opens_after_the_first_read_only(world: World) -> None:
    case, page = world.claimed(world.alice, world.bob), Asker.page(world)

    assert page.ask(view(world, page, world.bob, case, ObjectKind.HEATMAP)).state == "refused"
    assert page.ask(view(world, page, world.bob, case, ObjectKind.RENDITION)).state == "granted"

    case = world.first_read(world.alice, world.bob)
    asked = page.ask(view(world, page, world.bob, case, ObjectKind.HEATMAP))
    assert page.opens(asked)[ObjectKind.HEATMAP].startswith(b"\x89PNG")


def test_a_claim_that_ran_out_opens_nothing(world: World) -> None:
    case, page = world.claimed(world.alice, world.bob), Asker.page(world)
    with world.sessions() as session:
        past = database_now(session) - timedelta(seconds=1)
    change(world, update(Submission).where(Submission.id == case).values(claim_until=past))
    assert page.ask(view(world, page, world.bob, case, ObjectKind.RENDITION)).state == "refused"


ENDED = {
    "signed out": {"ended_at": timedelta(seconds=-1)},
    "too old": {"expires_at": timedelta(seconds=-1)},
    "idle": {"last_seen_at": timedelta(hours=-1)},
}


@pytest.mark.parametrize("moved", ENDED.values(), ids=list(ENDED))
def test_an_ended_session_opens_nothing(world: World, moved: dict[str, timedelta]) -> None:
    case, page = world.screened(world.alice), Asker.page(world)
    wanted = view(world, page, world.alice, case, ObjectKind.RENDITION)
    with world.sessions() as session:
        times = {name: database_now(session) + by for name, by in moved.items()}
    change(
        world, update(LoginSession).where(LoginSession.id == wanted.login_session_id).values(times)
    )

    assert page.ask(wanted).refusal == "the login session has ended"


def test_a_session_that_still_owes_its_second_factor_opens_nothing(world: World) -> None:
    case, page = world.claimed(world.alice, world.bob), Asker.page(world)
    wanted = view(world, page, world.bob, case, ObjectKind.RENDITION)
    change(
        world,
        update(LoginSession)
        .where(LoginSession.id == wanted.login_session_id)
        .values(second_factor_at=None),
    )

    assert page.ask(wanted).refusal == "the login session has ended"


def test_a_disabled_account_opens_nothing(world: World) -> None:
    case, page = world.screened(world.alice), Asker.page(world)
    wanted = view(world, page, world.alice, case, ObjectKind.RENDITION)
    with world.sessions() as session:
        now = database_now(session)
    change(
        world, update(Account).where(Account.id == world.alice.account_id).values(disabled_at=now)
    )

    assert page.ask(wanted).refusal == "the login session has ended"


def test_a_record_system_opens_the_signed_report_of_its_clinic(world: World) -> None:
    case, process = world.signed(world.alice, world.bob), enrolled(world, "web")
    web = Asker(world, process.private_key)

    opened = web.opens(web.ask(ehr(world, process, case, world.clinic_id)))

    assert opened[ObjectKind.LETTER] == b"This spot is harmless."


def test_a_record_system_of_another_clinic_opens_nothing(world: World) -> None:
    case, process = world.signed(world.alice, world.bob), enrolled(world, "web")
    wanted = ehr(world, process, case, world.other_clinic_id)
    answered = Asker(world, process.private_key).ask(wanted)
    assert "of its own clinic only" in (answered.refusal or "")


@pytest.mark.parametrize("column", ["revoked_at", "expires_at"])
def test_a_revoked_or_expired_record_system_opens_nothing(world: World, column: str) -> None:
    case, process = world.signed(world.alice, world.bob), enrolled(world, "web")
    wanted = ehr(world, process, case, world.clinic_id)
    with world.sessions() as session:
        past = database_now(session) - timedelta(seconds=1)
    change(
        world, update(EhrClient).where(EhrClient.id == wanted.ehr_client_id).values({column: past})
    )
    assert Asker(world, process.private_key).ask(wanted).state == "refused"


def test_a_record_system_opens_no_unsigned_case(world: World) -> None:
    case, process = world.screened(world.alice), enrolled(world, "web")
    wanted = ehr(world, process, case, world.clinic_id)
    wanted = replace(wanted, object_ids=objects(world, case, ObjectKind.HISTORY))
    assert "signed cases" in (Asker(world, process.private_key).ask(wanted).refusal or "")


def training(world: World, process: ProcessIdentity, case: str, who: str = "erin") -> NewKeyRequest:
    return NewKeyRequest(
        purpose=KeyPurpose.TRAINING,
        object_ids=objects(world, case, ObjectKind.RENDITION, ObjectKind.HISTORY),
        recipient_key=process.private_key.public_key().public_bytes_raw(),
        process_id=process.id,
        login_session_id=login(world, world.people[who]),
        submission_id=case,
    )


def test_an_export_opens_the_signed_case_of_a_patient_who_permits_research(world: World) -> None:
    world.decide_on_research(world.alice, permitted=True)
    case, process = world.signed(world.alice, world.bob), enrolled(world, "export")
    export = Asker(world, process.private_key)

    opened = export.opens(export.ask(training(world, process, case)))

    assert opened[ObjectKind.RENDITION].startswith(b"\xff\xd8")
    assert json.loads(opened[ObjectKind.HISTORY])["age"] == 52


def test_an_export_opens_no_unsigned_case(world: World) -> None:
    world.decide_on_research(world.alice, permitted=True)
    case, process = world.first_read(world.alice, world.bob), enrolled(world, "export")
    asked = Asker(world, process.private_key).ask(training(world, process, case))
    assert asked.answer is None
    assert "signed cases" in (asked.refusal or "")


def test_the_newest_decision_on_research_counts_for_old_cases_too(world: World) -> None:
    case, process = world.signed(world.alice, world.bob), enrolled(world, "export")
    export = Asker(world, process.private_key)
    states = []
    world.decide_on_research(world.carol, permitted=True)
    for permitted in (None, True, False):
        if permitted is not None:
            world.decide_on_research(world.alice, permitted=permitted)
        states.append(export.ask(training(world, process, case)).state)
    assert states == ["refused", "granted", "refused"]


@pytest.mark.parametrize("who", ["alice", "bob", "frank"])
def test_an_export_is_no_way_in_for_anybody_but_an_administrator(world: World, who: str) -> None:
    world.decide_on_research(world.alice, permitted=True)
    case, process = world.signed(world.alice, world.bob), enrolled(world, "export")
    asked = Asker(world, process.private_key).ask(training(world, process, case, who))
    assert "only an administrator" in (asked.refusal or "")


@pytest.mark.parametrize("program", ["web", "worker"])
def test_no_other_program_gets_an_export_s_keys(world: World, program: str) -> None:
    world.decide_on_research(world.alice, permitted=True)
    case, process = world.signed(world.alice, world.bob), enrolled(world, program)
    asked = Asker(world, process.private_key).ask(training(world, process, case))
    assert asked.refusal == "the process is not enrolled"


def test_an_export_gets_no_other_program_s_keys(world: World) -> None:
    process = enrolled(world, "export")
    export = Asker(world, process.private_key)
    _, wanted = screening(world, process)
    assert export.ask(wanted).refusal == "the process is not enrolled"
    report = ehr(world, process, world.signed(world.carol, world.bob), world.clinic_id)
    assert export.ask(report).refusal == "the process is not enrolled"


def test_an_old_request_is_refused(world: World) -> None:
    case, page = world.screened(world.alice), Asker.page(world)
    wanted = view(world, page, world.alice, case, ObjectKind.RENDITION)
    with world.sessions() as session, session.begin():
        row = key_requests.ask(session, wanted)
        row.expires_at = database_now(session) - timedelta(seconds=1)
    world.keeper.answer(row.id)
    assert request(world, row.id).refusal == "the request is too old"


def test_no_answer_holds_a_plain_file_key(world: World) -> None:
    case, page = world.screened(world.alice), Asker.page(world)
    asked = page.ask(view(world, page, world.alice, case, ObjectKind.RENDITION))
    assert asked.answer is not None
    (header,) = map(parse_header, asked.answer.values())
    file_key = unwrap(header, kid=RECIPIENT_KID, private_key=page.private)

    with world.sessions() as session:
        written = repr([vars(row) for row in session.scalars(select(KeyRequest))])
        written += repr([vars(row) for row in session.scalars(select(SealedObject))])
        written += repr([vars(row) for row in session.scalars(select(AuditEntry))])
    for form in (file_key.hex(), base64.b64encode(file_key).decode(), repr(file_key)[2:-1]):
        assert form not in written
    assert [one.kid for one in header.recipients] == [RECIPIENT_KID]


def test_a_repeated_hint_changes_nothing(world: World) -> None:
    case, page = world.screened(world.alice), Asker.page(world)
    asked = page.ask(view(world, page, world.alice, case, ObjectKind.RENDITION))

    world.keeper.answer(asked.id)
    world.keeper.answer("no such request")

    assert request(world, asked.id).answer == asked.answer
    released = select(AuditEntry).where(AuditEntry.action == AuditAction.KEYS_RELEASED)
    with world.sessions() as session:
        about = [one for one in session.scalars(released) if "view" in one.detail]
    assert len(about) == 1


@pytest.mark.parametrize(
    ("name", "action", "allowed"),
    [("alice", AuditAction.KEYS_RELEASED, True), ("carol", AuditAction.KEYS_REFUSED, False)],
)
def test_every_decision_is_audited_with_the_case(
    world: World, name: str, action: AuditAction, *, allowed: bool
) -> None:
    case, page = world.screened(world.alice), Asker.page(world)
    page.ask(view(world, page, world.people[name], case, ObjectKind.RENDITION))

    with world.sessions() as session:
        entry = session.scalars(select(AuditEntry).order_by(AuditEntry.sequence.desc())).first()
    assert entry is not None
    assert (entry.action, entry.submission_id, entry.allowed) == (action, case, allowed)
    assert entry.patient_id == world.alice.patient_id


def test_settling_strips_the_epoch_key_and_everything_still_opens(world: World) -> None:
    case, page = world.signed(world.alice, world.bob), Asker.page(world)
    patient = world.alice.patient_id or ""

    assert world.keeper.settle(patient) == 8
    assert world.keeper.settle(patient) == 0

    with world.sessions() as session:
        rows = sealed_objects.of_submission(session, case, ObjectKind)
        (key,) = session.scalars(select(PatientKey).where(PatientKey.patient_id == patient))
        for row in rows:
            (entry,) = sealed_objects.header_of(row).recipients
            assert (entry.kid, row.settled) == (key.kid, True)
            assert entry.alg is not None
    pictures = page.ask(view(world, page, world.alice, case, ObjectKind.RENDITION))
    assert page.opens(pictures)[ObjectKind.RENDITION].startswith(b"\xff\xd8")
    letter = page.ask(view(world, page, world.bob, case, ObjectKind.LETTER, ObjectKind.HEATMAP))
    assert set(page.opens(letter)) == {ObjectKind.LETTER, ObjectKind.HEATMAP}


def test_a_case_that_still_waits_for_its_worker_is_not_settled(world: World) -> None:
    case = world.submit(world.alice)
    world.keeper.settle(world.alice.patient_id or "")
    with world.sessions() as session:
        rows = sealed_objects.of_submission(session, case, ObjectKind)
    assert not [row for row in rows if row.settled]


def destroy_epoch(world: World) -> None:
    with world.sessions() as session:
        now = database_now(session)
    change(world, update(EpochKeyRow).values(private_wrapped=None, destroyed_at=now))


def test_once_settled_an_object_outlives_its_epoch_key(world: World) -> None:
    case, page = world.screened(world.alice), Asker.page(world)
    world.keeper.settle(world.alice.patient_id or "")
    destroy_epoch(world)
    asked = page.ask(view(world, page, world.alice, case, ObjectKind.RENDITION))
    assert page.opens(asked)


def test_a_destroyed_epoch_key_opens_nothing_any_more(world: World) -> None:
    case, page = world.screened(world.alice), Asker.page(world)
    destroy_epoch(world)
    asked = page.ask(view(world, page, world.alice, case, ObjectKind.RENDITION))
    assert asked.answer is None
    assert "does not exist any more" in (asked.refusal or "")


def test_a_destroyed_patient_key_erases_the_patient(world: World) -> None:
    case, page = world.screened(world.alice), Asker.page(world)
    world.keeper.settle(world.alice.patient_id or "")
    with world.sessions() as session:
        now = database_now(session)
    change(world, update(PatientKey).values(wrapped=None, destroyed_at=now))

    asked = page.ask(view(world, page, world.alice, case, ObjectKind.RENDITION))

    assert asked.answer is None
    assert "does not exist any more" in (asked.refusal or "")


def test_one_damaged_object_holds_up_no_other(world: World) -> None:
    patient = world.alice.patient_id or ""
    damaged, whole = world.screened(world.alice), world.screened(world.alice)
    change(
        world, update(SealedObject).where(SealedObject.submission_id == damaged).values(header="{}")
    )

    assert world.keeper.settle(patient) == 6
    assert world.keeper.settle(patient) == 0

    with world.sessions() as session:
        assert all(row.settled for row in sealed_objects.of_submission(session, whole, ObjectKind))


def test_another_master_key_leaves_the_request_waiting(world: World) -> None:
    """The keeper itself is broken then, not the object: nobody is told that a photo is damaged."""
    case, page = world.screened(world.alice), Asker.page(world)
    wanted = view(world, page, world.alice, case, ObjectKind.RENDITION)
    with world.sessions() as session, session.begin():
        request_id = key_requests.ask(session, wanted).id
    wrong = replace(world.keeper, master=LocalMasterKey(b"w" * 32))

    with pytest.raises(MasterKeyError):
        wrong.answer(request_id)

    assert request(world, request_id).state == "waiting"


def test_a_key_that_is_no_key_is_refused(world: World) -> None:
    case, page = world.screened(world.alice), Asker.page(world)
    wanted = view(world, page, world.alice, case, ObjectKind.RENDITION)
    assert page.ask(replace(wanted, recipient_key=b"\0" * 32)).state == "refused"
    assert page.ask(replace(wanted, recipient_key=b"short")).state == "refused"


def test_an_object_that_was_deleted_meanwhile_is_refused(world: World) -> None:
    case, page = world.screened(world.alice), Asker.page(world)
    wanted = view(world, page, world.alice, case, ObjectKind.RENDITION)
    change(world, delete(SealedObject).where(SealedObject.id.in_(wanted.object_ids)))
    assert page.ask(wanted).refusal == "no object was named"


def test_an_original_is_shown_where_the_computer_gave_up(world: World) -> None:
    case, page = world.submit(world.alice), Asker.page(world)
    with world.sessions() as session, session.begin():
        (held,) = screening_queue.claim_batch(session, hint=case, lease=LEASE, limit=1)
        screening_queue.give_up(session, held, reason="no worker")
    with world.sessions() as session, session.begin():
        assert review_queue.claim(session, case, reader_id=world.bob.account_id)
    asked = page.ask(view(world, page, world.bob, case, ObjectKind.PHOTO))
    assert page.opens(asked)[ObjectKind.PHOTO].startswith(b"\xff\xd8")
