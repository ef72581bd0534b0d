"""The reconciler frees what dead workers held, and tells the audit chain."""

from datetime import timedelta

import pytest
from sqlalchemy import select, update
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

import worker.reconciler
from clinic.audit_event import AuditAction
from clinic.records import audit_log, screening_queue, submissions
from clinic.records.db import database_now
from clinic.records.models import AuditEntry, Submission
from clinic.submission import CaseState, ScreeningState
from tests.threads import at_once
from tests.waiting_cases import claim_ran_out, now, waiting
from tests.world import World
from worker.reconciler import Reconciler

PATIENCE = timedelta(minutes=30)


def reconciler(world: World) -> Reconciler:
    return Reconciler(world.sessions, world.auditor, PATIENCE)


def lost_by_a_worker(world: World, *, attempt: int) -> str:
    """A case whose lease ran out in its n-th attempt."""
    case = world.submit(world.alice)
    with world.sessions() as session, session.begin():
        lease = timedelta(seconds=30)
        assert screening_queue.claim_batch(session, hint=case, lease=lease, limit=1)
        past = database_now(session) - timedelta(seconds=1)
        changed = update(Submission).where(Submission.id == case)
        session.execute(changed.values(lease_until=past, attempt=attempt))
    return case


def states(world: World, case: str) -> tuple[str, str]:
    with world.sessions() as session:
        row = submissions.find(session, case)
    assert row is not None
    return row.screening_state, row.case_state


def actions(world: World, case: str) -> list[str]:
    with world.sessions() as session:
        assert audit_log.verify(session, world.auditor.key) is None
        return list(
            session.scalars(select(AuditEntry.action).where(AuditEntry.submission_id == case))
        )


def test_a_lost_case_goes_back_to_the_queue(world: World) -> None:
    case = lost_by_a_worker(world, attempt=1)

    assert reconciler(world).reconcile() == 1
    assert reconciler(world).reconcile() == 0

    assert states(world, case) == (ScreeningState.QUEUED, CaseState.RECEIVED)
    assert actions(world, case) == [AuditAction.SCREENING_FAILED]


def test_a_case_lost_three_times_is_queued_for_a_last_look(world: World) -> None:
    case = lost_by_a_worker(world, attempt=3)
    assert reconciler(world).reconcile() == 1
    assert states(world, case) == (ScreeningState.QUEUED, CaseState.RECEIVED)


def test_a_case_lost_in_its_last_look_goes_to_people(world: World) -> None:
    case = lost_by_a_worker(world, attempt=4)
    assert reconciler(world).reconcile() == 1
    assert states(world, case) == (ScreeningState.DEAD, CaseState.AWAITING_REVIEW)
    assert actions(world, case) == [AuditAction.SCREENING_GIVEN_UP]


def test_a_case_that_no_worker_took_goes_to_people(world: World) -> None:
    case = world.submit(world.alice)
    assert reconciler(world).reconcile() == 0
    with world.sessions() as session, session.begin():
        then = database_now(session) - PATIENCE - timedelta(seconds=1)
        session.execute(update(Submission).values(queued_at=then))

    assert reconciler(world).reconcile() == 1

    assert states(world, case) == (ScreeningState.DEAD, CaseState.AWAITING_REVIEW)
    assert actions(world, case) == [AuditAction.SCREENING_GIVEN_UP]


def test_two_reconcilers_move_a_case_once(world: World) -> None:
    cases = [lost_by_a_worker(world, attempt=1) for _ in range(3)]
    rounds = [reconciler(world).reconcile] * 4

    assert sum(at_once(*rounds)) == len(cases)

    for case in cases:
        assert actions(world, case) == [AuditAction.SCREENING_FAILED]


def test_the_loop_outlives_a_database_that_is_away(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = lost_by_a_worker(world, attempt=1)
    rounds: list[float] = []
    monkeypatch.setattr(worker.reconciler.time, "sleep", rounds.append)

    def sessions() -> Session:
        if len(rounds) < 3:
            raise OperationalError("SELECT", {}, Exception("the server closed the connection"))
        return world.sessions()

    Reconciler(sessions, world.auditor, PATIENCE).run(lambda: len(rounds) == 4)

    assert states(world, case)[0] == ScreeningState.QUEUED


def test_the_loop_ends_when_it_is_told_to(world: World) -> None:
    case = lost_by_a_worker(world, attempt=1)
    answers = iter([False, True])
    reconciler(world).run(lambda: next(answers))
    assert states(world, case)[0] == ScreeningState.QUEUED


def test_a_claim_that_ran_out_is_taken_away_and_on_record(world: World) -> None:
    case = world.claimed(world.alice, world.bob)
    assert reconciler(world).reconcile() == 0
    claim_ran_out(world, case)

    assert reconciler(world).reconcile() == 1

    with world.sessions() as session:
        row = submissions.find(session, case)
    assert row is not None
    assert (row.claimed_by, row.claim_until) == (None, None)
    assert actions(world, case)[-1] == AuditAction.CASE_RELEASED


def test_the_loop_escalates_too(world: World) -> None:
    case = waiting(world, due_at=now(world) - timedelta(hours=1))
    answers = iter([False, True])
    reconciler(world).run(lambda: next(answers))
    assert actions(world, case) == [AuditAction.CASE_ESCALATED]
