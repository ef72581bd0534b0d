"""Rows of one patient and reader in every table that holds a clinic's rows."""

from datetime import date
from secrets import token_bytes

from sqlalchemy.orm import Session

from clinic.access import Role
from clinic.attachment import AttachmentKind, MediaType
from clinic.audit_event import AuditAction
from clinic.double_read import ConsensusPath, Rule
from clinic.due_time import Clock
from clinic.escalation import Level, Limit, Promise
from clinic.hand_over import HandOverReason
from clinic.keeper_protocol import KeyPurpose
from clinic.notices import NoticeKind
from clinic.one_time_link import LinkPurpose
from clinic.pathology import PathologySource, Specimen
from clinic.records import (
    accounts,
    attachments,
    double_read_rules,
    drafts,
    ehr_clients,
    erasure_requests,
    escalations,
    invitations,
    key_requests,
    keys,
    known_devices,
    notices,
    one_time_links,
    passkeys,
    pathology,
    recovery_codes,
    service_clock,
)
from clinic.records.attachments import NewAttachment
from clinic.records.db import database_now, new_id
from clinic.records.drafts import Draft
from clinic.records.key_requests import NewKeyRequest
from clinic.records.models import (
    Account,
    Consensus,
    HandOver,
    Holiday,
    Patient,
    ReportWithdrawal,
    Submission,
)
from clinic.records.passkeys import NewPasskey
from clinic.records.pathology import NewResult
from tests.world import Person, World


def fill(world: World, patient: Person, reader: Person) -> None:
    """What a signed case and those who had to do with it leave in the tables."""
    case = world.signed(patient, reader)
    world.ask_second(case, reader)
    world.message(case, patient, "A message.")
    world.note(case, reader, "A note.")
    with world.sessions() as session, session.begin():
        account = session.get_one(Account, patient.account_id)
        login = accounts.live_login(
            session, accounts.start_login(session, account, second_factor=False)
        )
        assert login is not None
        accounts.make_sign_in_link(session, account)
        ehr_clients.register(session, clinic_id=patient.clinic_id, name="A hospital")
        session.add(Holiday(clinic_id=patient.clinic_id, day=date(2026, 12, 24)))
        erasure_requests.ask(session, session.get_one(Patient, patient.patient_id))
        _fill_identity(session, account, world)
        service_clock.set_limits(session, patient.clinic_id, {Clock.URGENT: 1})
        service_clock.set_contacts(session, patient.clinic_id, [reader.account_id])
        row = session.get_one(Submission, case)
        limit = Limit(Promise.READ, row.received_at, row.due_at, row.due_at)
        escalations.add(session, row, limit, Level.BREACH, told=[])
        passed_on = HandOver(from_id=reader.account_id, reason=HandOverReason.MISTAKE)
        passed_on.submission_id, passed_on.clinic_id = case, patient.clinic_id
        passed_on.at = database_now(session)
        session.add(passed_on)
        _fill_decision(session, row, reader, world)
        double_read_rules.set_rule(session, patient.clinic_id, Rule())
        session.add(
            Consensus(
                submission_id=case,
                clinic_id=patient.clinic_id,
                path=ConsensusPath.AGREED,
                diagnosis="nv",
                plan="gp_plan",
                recorded_at=database_now(session),
            )
        )
        gone = ReportWithdrawal(submission_id=new_id(), patient_id=new_id())
        gone.clinic_id, gone.withdrawn_at = patient.clinic_id, database_now(session)
        session.add(gone)
        own_identity = NewKeyRequest(
            purpose=KeyPurpose.TEXT,
            object_ids=("0" * 32,),
            recipient_key=b"",
            login_session_id=login.id,
        )
        key_requests.ask(session, own_identity)
        world.auditor.record(
            session, AuditAction.RESULT_READ, account.id, clinic_id=account.clinic_id
        )
        patient_id = session.get_one(Submission, case).patient_id
    world.keeper.settle(patient_id)


def _fill_identity(session: Session, account: Account, world: World) -> None:
    invitations.invite(session, clinic_id=account.clinic_id, role=Role.DERMATOLOGIST)
    known_devices.remember(session, account, None)
    notices.tell(session, account, NoticeKind.NEW_DEVICE)
    reset = LinkPurpose.PASSWORD_RESET
    one_time_links.make(session, world.secrets, reset, account_id=account.id, email=None)
    passkeys.add(session, account, NewPasskey(token_bytes(16), b"a public key", 0, b"sealed"))
    passkeys.new_challenge(session, account.id)
    recovery_codes.renew(session, account.id)


def _fill_decision(session: Session, row: Submission, reader: Person, world: World) -> None:
    recipient = keys.sealing_recipient(session, world.root_public_key)
    draft = Draft(reader.account_id, "{}", 0)
    drafts.save(session, world.blobs, row, draft, recipient=recipient)
    kind, media_type = AttachmentKind.LEAFLET, MediaType.PDF
    file = NewAttachment(kind, media_type, b"%PDF-", True, reader.account_id)
    attachments.add(session, world.blobs, row, file, recipient=recipient)
    punch, report = Specimen.PUNCH, PathologySource.LABORATORY_REPORT
    result = NewResult("nv", "D22.5", None, punch, report, date(2026, 11, 2), None)
    pathology.add(session, row, result, added_by=reader.account_id)
