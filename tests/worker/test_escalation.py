"""The reconciler tells named people of promises that run late: once, on record, without names."""

from datetime import timedelta

import pytest
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from clinic.audit_event import AuditAction
from clinic.double_read import ReadReason
from clinic.due_time import suspected_cancer_by
from clinic.notices import NoticeKind
from clinic.records import (
    audit_log,
    report_versions,
    review,
    review_queue,
    second_reads,
    service_clock,
)
from clinic.records.db import database_now
from clinic.records.models import (
    Account,
    Escalation,
    Notice,
    SealedObject,
    SecondRead,
    SignedReport,
    Submission,
)
from clinic.records.report_versions import Change
from clinic.records.review import Decision
from clinic.records.second_reads import NewRead, SecondOpinion
from clinic.report_values import ReportStatus
from clinic.submission import CaseState
from tests.portal_tools import both_databases, entries, row_of
from tests.threads import at_once
from tests.waiting_cases import claim, now, waiting
from tests.world import Person, World
from worker.escalation import Escalator

LONG = timedelta(days=40)


def escalator(world: World) -> Escalator:
    return Escalator(world.sessions, world.auditor)


def received(world: World, *, ago: timedelta, left: timedelta, **values: object) -> str:
    """A case that came some time ago; `left`: until it is due."""
    at = now(world)
    return waiting(world, received_at=at - ago, due_at=at + left, **values)


def written(world: World, case: str) -> list[tuple[str, str, list[str]]]:
    with world.sessions() as session:
        rows = session.scalars(select(Escalation).where(Escalation.submission_id == case))
        return sorted((one.promise, one.level, one.told) for one in rows)


def mails(world: World, person: Person) -> list[str]:
    with world.sessions() as session:
        query = select(Notice.kind).where(Notice.account_id == person.account_id)
        return list(session.scalars(query.order_by(Notice.created_at)))


def name_contacts(world: World, *people: Person) -> None:
    ids = [one.account_id for one in people]
    with world.sessions() as session, session.begin():
        service_clock.set_contacts(session, world.clinic_id, ids)


def look_again(world: World) -> int:
    """As if the time of the next look had come."""
    with world.sessions() as session, session.begin():
        session.execute(
            update(Submission)
            .where(Submission.escalate_at.is_not(None))
            .values(escalate_at=database_now(session))
        )
    return escalator(world).escalate()


def test_a_case_with_time_left_tells_nobody_and_is_looked_at_again(world: World) -> None:
    case = received(world, ago=timedelta(), left=timedelta(days=7))
    assert escalator(world).escalate() == 0
    assert written(world, case) == []
    at = row_of(world, case).escalate_at
    assert at is not None
    assert at > now(world)


def test_a_breach_is_told_once_to_the_named_people_with_audit_and_mail(world: World) -> None:
    name_contacts(world, world.bob, world.erin)
    case = received(world, ago=LONG, left=timedelta(hours=-1))

    assert escalator(world).escalate() == 1
    assert look_again(world) == 0

    ((promise, level, told),) = written(world, case)
    assert (promise, level) == ("read", "breach")
    assert set(told) == {world.bob.account_id, world.erin.account_id}
    for person in (world.bob, world.erin):
        assert mails(world, person) == [NoticeKind.CASES_OVERDUE]
    assert mails(world, world.dan) == []
    (entry,) = entries(world, AuditAction.CASE_ESCALATED)
    assert (entry.actor, entry.submission_id) == ("reconciler", case)
    assert entry.detail == "read, breach: 2 people told"
    with world.sessions() as session:
        assert audit_log.verify(session, world.auditor.key) is None


def test_without_named_people_the_administrators_are_told(world: World) -> None:
    case = received(world, ago=LONG, left=timedelta(hours=-1))
    escalator(world).escalate()
    assert written(world, case) == [("read", "breach", [world.erin.account_id])]


def test_who_cannot_sign_in_any_more_is_not_told(world: World) -> None:
    name_contacts(world, world.bob)
    with world.sessions() as session, session.begin():
        session.get_one(Account, world.bob.account_id).disabled_at = database_now(session)
    case = received(world, ago=LONG, left=timedelta(hours=-1))
    escalator(world).escalate()
    assert written(world, case) == [("read", "breach", [world.erin.account_id])]


def test_a_warning_comes_first_and_the_breach_after_it(world: World) -> None:
    case = received(world, ago=LONG, left=timedelta(minutes=1))
    assert escalator(world).escalate() == 1
    with world.sessions() as session, session.begin():
        session.get_one(Submission, case).due_at = database_now(session) - timedelta(seconds=1)
    assert look_again(world) == 1
    assert [one[:2] for one in written(world, case)] == [("read", "breach"), ("read", "warning")]
    assert mails(world, world.erin) == [NoticeKind.CASES_NEARLY_DUE, NoticeKind.CASES_OVERDUE]


@pytest.mark.parametrize(
    "values",
    [
        {"case_state": CaseState.UNREADABLE, "retake_reason": "Blurred."},
        {"case_state": CaseState.RECEIVED, "urgency": None},
    ],
)
def test_the_clock_runs_on_while_a_case_waits_for_its_patient_or_the_computer(
    world: World, values: dict[str, object]
) -> None:
    case = received(world, ago=LONG, left=timedelta(hours=-1), **values)
    assert escalator(world).escalate() == 1
    assert [one[:2] for one in written(world, case)] == [("read", "breach")]


def test_a_suspected_cancer_gets_its_date_and_its_breach(world: World) -> None:
    urgent = received(world, ago=timedelta(days=29), left=timedelta(days=9), urgency=0)
    suspicious = received(world, ago=timedelta(days=23), left=timedelta(days=40), urgency=1)
    routine = received(world, ago=timedelta(days=29), left=timedelta(days=40), urgency=2)
    escalator(world).escalate()
    assert [one[:2] for one in written(world, urgent)] == [("cancer", "breach")]
    assert [one[:2] for one in written(world, suspicious)] == [("cancer", "warning")]
    assert written(world, routine) == []
    row = row_of(world, urgent)
    assert row.told_by == suspected_cancer_by(row.received_at)
    assert row_of(world, routine).told_by is None


def test_a_patient_who_does_not_open_a_signed_result_is_told_of_until_they_do(
    world: World,
) -> None:
    case = world.signed(world.alice, world.bob)
    assert escalator(world).escalate() == 0
    with world.sessions() as session, session.begin():
        report = session.scalars(select(SignedReport)).one()
        report.signed_at = database_now(session) - timedelta(days=9)
    assert look_again(world) == 1
    assert [one[:2] for one in written(world, case)] == [("told", "breach")]
    with world.sessions() as session, session.begin():
        assert review.mark_told(session, case)
    assert escalator(world).escalate() == 0
    assert row_of(world, case).escalate_at is None, "all promises are settled"


def sign_again(world: World, case: str) -> None:
    """The next version; what was before it is longer ago."""
    with world.sessions() as session, session.begin():
        row = session.get_one(Submission, case)
        earlier = report_versions.versions(session, case)
        age(session, case)
        first = earlier[-1]
        objects = [
            session.get_one(SealedObject, one)
            for one in (first.finding_object_id, first.letter_object_id)
        ]
        codes = ("diagnosis", "icd10cm", "confidence", "image_quality", "plan", "agreement")
        same = [getattr(first, name) for name in codes]
        decision = Decision(*same, None, *objects)
        change = Change(ReportStatus.AMENDED, "pathology")
        signer, after = first.signer_id, first.version
        report_versions.add_version(
            session, row, signer_id=signer, decision=decision, change=change, after=after
        )


def age(session: Session, case: str) -> None:
    """As if nine more days had passed since all signatures and steps."""
    for one in report_versions.versions(session, case):
        one.signed_at -= timedelta(days=9)
    for step in session.scalars(select(Escalation)):
        step.at -= timedelta(days=9)
    session.flush()


@both_databases
def test_a_later_version_is_to_be_told_anew_from_its_own_signature(world: World) -> None:
    case = world.signed(world.alice, world.bob)
    with world.sessions() as session, session.begin():
        age(session, case)
    assert look_again(world) == 1, "the first version is overdue"
    with world.sessions() as session, session.begin():
        assert review.mark_told(session, case)
    escalator(world).escalate()
    assert row_of(world, case).escalate_at is None

    sign_again(world, case)
    assert row_of(world, case).told_at is None
    assert escalator(world).escalate() == 0, "its time has just begun"
    assert untold(world) == []
    with world.sessions() as session, session.begin():
        age(session, case)

    assert look_again(world) == 1
    assert look_again(world) == 0
    assert [one[:2] for one in written(world, case)] == [("told", "breach")] * 2
    assert untold(world) == [case]
    with world.sessions() as session, session.begin():
        assert review.mark_told(session, case)
    assert escalator(world).escalate() == 0
    assert untold(world) == []
    assert row_of(world, case).escalate_at is None


def untold(world: World) -> list[str]:
    with world.sessions() as session:
        found = review_queue.untold(session, clinic_id=world.clinic_id)
        return [one.submission_id for one in found]


@pytest.mark.parametrize("told", [True, False])
def test_the_28_days_are_settled_by_the_first_version_that_was_told(
    world: World, *, told: bool
) -> None:
    case = world.signed(world.alice, world.bob)
    with world.sessions() as session, session.begin():
        row = session.get_one(Submission, case)
        row.urgency, row.received_at = 0, database_now(session) - timedelta(days=40)
        if told:
            assert review.mark_told(session, case)
    sign_again(world, case)
    escalator(world).escalate()
    expected = [] if told else [("cancer", "breach")]
    assert [one[:2] for one in written(world, case)] == expected


def ask(world: World, case: str, *, holds: bool = False) -> SecondRead:
    with world.sessions() as session, session.begin():
        row = session.get_one(Submission, case)
        new = NewRead(reason=ReadReason.SAMPLE, blind=True, holds=holds)
        return second_reads.ask(session, row, new)


def make_late(world: World, read: SecondRead) -> None:
    with world.sessions() as session, session.begin():
        row = session.get_one(SecondRead, read.id)
        row.asked_at, row.due_at = row.asked_at - LONG, database_now(session) - timedelta(hours=1)


@both_databases
def test_a_second_read_past_its_time_is_told_of_once_though_its_case_is_settled(
    world: World,
) -> None:
    case = world.signed(world.alice, world.bob)
    with world.sessions() as session, session.begin():
        assert review.mark_told(session, case)
    escalator(world).escalate()
    assert row_of(world, case).escalate_at is None

    read = ask(world, case)
    assert escalator(world).escalate() == 0
    assert row_of(world, case).escalate_at is not None, "it is watched"
    with world.sessions() as session, session.begin():
        row = session.get_one(SecondRead, read.id)
        row.asked_at = database_now(session) - LONG
        row.due_at = database_now(session) + timedelta(minutes=1)
    assert look_again(world) == 1
    make_late(world, read)
    assert look_again(world) == 1
    assert look_again(world) == 0

    assert [one[:2] for one in written(world, case)] == [
        ("second", "breach"),
        ("second", "warning"),
    ]
    assert mails(world, world.erin) == [NoticeKind.CASES_NEARLY_DUE, NoticeKind.CASES_OVERDUE]
    details = [one.detail for one in entries(world, AuditAction.CASE_ESCALATED)]
    assert details == ["second, warning: 1 people told", "second, breach: 1 people told"]


def test_the_next_second_read_of_a_case_is_a_promise_of_its_own(world: World) -> None:
    case = world.signed(world.alice, world.bob)
    first = ask(world, case)
    make_late(world, first)
    assert look_again(world) == 1
    with world.sessions() as session, session.begin():
        second_reads.withdraw_all(session, case, reason="mistake")
    assert look_again(world) == 0

    second = ask(world, case)
    assert look_again(world) == 0
    with world.sessions() as session, session.begin():
        session.get_one(SecondRead, second.id).due_at = second.asked_at + timedelta(microseconds=1)
    assert look_again(world) == 1
    assert [one[:2] for one in written(world, case)] == [("second", "breach")] * 2


def test_a_second_read_that_holds_its_case_shares_the_clock_of_the_case(world: World) -> None:
    case = received(world, ago=LONG, left=timedelta(hours=-1))
    make_late(world, ask(world, case, holds=True))
    assert escalator(world).escalate() == 1
    assert [one[:2] for one in written(world, case)] == [("read", "breach")]


def test_an_answered_second_read_is_watched_no_more(world: World) -> None:
    case = world.signed(world.alice, world.bob)
    read = ask(world, case)
    make_late(world, read)
    opinion = SecondOpinion(differential=["nv"], confidence="certain", plan="benign_advice")
    with world.sessions() as session, session.begin():
        assert review.mark_told(session, case)
        assert second_reads.take(session, read.id, reader_id=world.dan.account_id)
        row = session.get_one(SecondRead, read.id)
        second_reads.record(session, row, opinion, reader_id=world.dan.account_id)
    assert look_again(world) == 0
    assert row_of(world, case).escalate_at is None


def test_two_rounds_at_once_tell_each_case_once(world: World) -> None:
    cases = [received(world, ago=LONG, left=timedelta(hours=-1)) for _ in range(4)]
    told = sum(at_once(*[escalator(world).escalate] * 4))
    told += escalator(world).escalate()
    assert told == len(cases)
    for case in cases:
        assert len(written(world, case)) == 1
    assert len(entries(world, AuditAction.CASE_ESCALATED)) == len(cases)


def test_many_breaches_are_one_mail_until_an_hour_has_passed(world: World) -> None:
    for _ in range(3):
        received(world, ago=LONG, left=timedelta(hours=-1))
    escalator(world).escalate()
    assert mails(world, world.erin) == [NoticeKind.CASES_OVERDUE]
    with world.sessions() as session, session.begin():
        first = session.scalars(select(Notice)).one()
        first.sent_at, first.attempts = database_now(session), 1
    received(world, ago=LONG, left=timedelta(hours=-1))
    escalator(world).escalate()
    with world.sessions() as session:
        second = session.scalars(select(Notice).where(Notice.sent_at.is_(None))).one()
        assert second.not_before == first.created_at + timedelta(hours=1)


def test_a_case_of_another_clinic_is_told_to_its_own_people(world: World) -> None:
    name_contacts(world, world.bob)
    case = received(world, ago=LONG, left=timedelta(hours=-1))
    with world.sessions() as session, session.begin():
        session.get_one(Submission, case).clinic_id = world.other_clinic_id
        service_clock.set_contacts(session, world.other_clinic_id, [world.frank.account_id])
    escalator(world).escalate()
    assert written(world, case) == [("read", "breach", [world.frank.account_id])]


def test_handing_a_case_over_does_not_stop_its_clock(world: World) -> None:
    case = received(world, ago=LONG, left=timedelta(hours=-1))
    claim(world, case, world.bob)
    assert escalator(world).escalate() == 1
