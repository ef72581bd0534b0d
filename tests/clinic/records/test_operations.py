"""What the operator looks at."""

from datetime import timedelta

import pytest
from sqlalchemy import event

from clinic.audit_event import AuditAction
from clinic.photo_reject import RejectReason
from clinic.records import (
    audit_log,
    first_reads,
    key_requests,
    keys,
    operations,
    review_queue,
    screening_queue,
)
from clinic.records.audit_log import Walk
from clinic.records.db import database_now
from clinic.records.first_reads import Impression
from clinic.records.key_requests import NewKeyRequest
from clinic.records.models import (
    AuditEntry,
    AuditHead,
    EpochKeyRow,
    ProcessKey,
    ScreeningResult,
)
from clinic.records.operations import OTHER_REASON, Depth, Promise, Snapshot, snapshot
from clinic.submission import CaseState, ScreeningState
from tests.portal_tools import change_row, row_of
from tests.world import World


def look(world: World) -> Snapshot:
    with world.sessions() as session:
        return snapshot(session)


def depth(found: Snapshot, state: str, urgency: int | None) -> Depth:
    return next(one for one in found.depths if (one.state, one.urgency) == (state, urgency))


def give_up(world: World, case: str, reason: str = "poison") -> None:
    with world.sessions() as session, session.begin():
        (held,) = screening_queue.claim_batch(
            session, hint=case, lease=timedelta(seconds=30), limit=1
        )
        assert held is not None
        assert screening_queue.give_up(session, held, reason=reason)


def dead(world: World) -> str:
    case = world.submit(world.alice)
    give_up(world, case)
    return case


def test_depths_count_cases_by_state_and_urgency(world: World) -> None:
    read = row_of(world, world.screened(world.alice))
    oldest = row_of(world, world.submit(world.alice))
    world.submit(world.carol)

    found = look(world)

    assert depth(found, "queued", None) == Depth("queued", None, 2, oldest.queued_at)
    assert depth(found, "running", None) == Depth("running", None, 0, None)
    assert depth(found, "awaiting_review", 2) == Depth("awaiting_review", 2, 1, read.received_at)
    assert depth(found, "awaiting_review", 0).count == 0
    assert depth(found, "unreadable", None).count == 0
    assert found.oldest_due == oldest.not_before
    assert found.taken_at >= oldest.not_before


def test_only_a_case_that_nobody_hinted_points_at_the_relay(world: World) -> None:
    case = world.submit(world.alice)
    assert look(world).never_hinted == row_of(world, case).not_before
    with world.sessions() as session, session.begin():
        screening_queue.stamp_hints(session, [case])
    found = look(world)
    assert (found.never_hinted, found.oldest_due) == (None, row_of(world, case).not_before)


def test_a_lease_that_ran_out_is_counted(world: World) -> None:
    case = world.submit(world.alice)
    with world.sessions() as session, session.begin():
        assert screening_queue.claim_batch(session, hint=case, lease=timedelta(seconds=30), limit=1)
    assert look(world).expired_leases == 0
    with world.sessions() as session:
        past = database_now(session) - timedelta(seconds=1)
    change_row(world, case, lease_until=past)
    assert look(world).expired_leases == 1


def test_due_times_that_passed_or_come_soon_are_counted_until_the_signature(world: World) -> None:
    late, soon, later = (world.claimed(world.alice, world.bob) for _ in range(3))
    with world.sessions() as session:
        now = database_now(session)
    change_row(world, late, due_at=now - timedelta(minutes=1))
    change_row(world, soon, due_at=now + timedelta(hours=1))
    change_row(world, later, due_at=now + timedelta(days=2))

    assert look(world).promises == (Promise(0, 0, 0), Promise(1, 0, 0), Promise(2, 1, 1))
    with world.sessions() as session, session.begin():
        first_reads.record(
            session, late, reader_id=world.bob.account_id, blind=Impression("nv", "low")
        )
    world.sign(late, world.bob)
    assert look(world).promises[2] == Promise(2, 0, 1)
    assert look(world).recent.to_report is not None


def test_requests_for_new_photos_are_counted_by_reason_in_a_closed_vocabulary(
    world: World,
) -> None:
    words = f"Your close-up photo: {RejectReason.TOO_SMALL.sentence}"
    for reason in (words, words, "Please, Alice, take off the plaster."):
        change_row(
            world,
            world.submit(world.alice),
            case_state=CaseState.UNREADABLE,
            screening_state=ScreeningState.DONE,
            retake_reason=reason,
        )

    retakes = look(world).retakes

    assert (retakes[RejectReason.TOO_SMALL], retakes[OTHER_REASON]) == (2, 1)
    assert set(retakes) == {*RejectReason, OTHER_REASON}


def test_the_newest_results_tell_seconds_and_attempts(world: World) -> None:
    cases = [world.screened(world.alice) for _ in range(3)]
    change_row(world, cases[0], attempt=2)
    with world.sessions() as session, session.begin():
        for seconds, case in zip((1.0, 2.0, 9.0), cases, strict=True):
            session.get_one(ScreeningResult, case).stage_seconds = {"decode": seconds}

    recent = look(world).recent

    (times,) = recent.stages
    assert (times.stage, times.median, times.longest) == ("decode", 2.0, 9.0)
    assert 2.0 < times.p95 <= 9.0
    assert (recent.last_hour, recent.attempts, recent.without_ai) == (3, {1: 2, 2: 1}, 0)


def test_what_the_keeper_does_is_counted(world: World) -> None:
    world.screened(world.alice)
    assert look(world).key_service.granted == 1
    with world.sessions() as session, session.begin():
        wanted = NewKeyRequest(purpose="screening", object_ids=(), recipient_key=b"")
        asked = key_requests.ask(session, wanted)

    service = look(world).key_service

    assert (service.waiting, service.oldest_waiting) == (1, asked.created_at)


def test_workers_are_listed_with_their_model_and_the_silent_ones_are_not_alive(
    world: World,
) -> None:
    with world.sessions() as session, session.begin():
        for version in ("v1", "v2", "v3"):
            keys.enrol_process(session, b"s", program="worker", model_version=version)
        keys.enrol_process(session, b"s", program="web")
        now = database_now(session)
        for version, age in (("v1", timedelta(minutes=2)), ("v3", timedelta(days=2))):
            row = session.query(ProcessKey).filter_by(model_version=version).one()
            row.last_seen_at = now - age

    found = look(world)

    assert [one.model_version for one in found.workers] == ["v2", "v1"]
    assert [one.model_version for one in found.alive_workers] == ["v2"]


def test_the_end_of_the_last_epoch_key_is_told(world: World) -> None:
    with world.sessions() as session:
        end = session.query(EpochKeyRow).one().not_after
    assert look(world).epoch_ends_at == end
    with world.sessions() as session, session.begin():
        session.query(EpochKeyRow).one().not_after = database_now(session) - timedelta(seconds=1)
    assert look(world).epoch_ends_at is None


def test_the_end_of_the_epoch_keys_counts_those_that_follow(world: World) -> None:
    assert not look(world).next_epoch
    with world.sessions() as session, session.begin():
        keys.publish_epochs(session, world.master, world.root_private, count=1)
        end = max(row.not_after for row in session.query(EpochKeyRow))
    assert look(world).epoch_ends_at == end
    assert look(world).next_epoch


def test_the_last_emergency_is_told(world: World) -> None:
    assert look(world).last_emergency is None
    with world.sessions() as session, session.begin():
        world.auditor.record(session, AuditAction.EMERGENCY_ACCESS, "test")
    found = look(world)
    assert found.last_emergency is not None
    assert timedelta() <= found.taken_at - found.last_emergency < timedelta(minutes=1)


def test_the_chain_is_told_with_what_the_last_walk_found(world: World) -> None:
    assert look(world).audit.checked_at is None
    world.screened(world.alice)
    with world.sessions() as session, session.begin():
        audit_log.keep_finding(session, Walk(2, "m", None, whole=True))
        head = session.get_one(AuditHead, 1).sequence

    chain = look(world).audit

    assert (chain.head, chain.checked_entries, chain.problem) == (head, 2, None)
    assert chain.checked_at is not None


def test_cases_without_the_computers_view_are_listed_until_they_are_read(world: World) -> None:
    case = dead(world)
    world.submit(world.carol)
    with world.sessions() as session:
        (found,) = operations.dead_cases(session, clinic_id=world.clinic_id, limit=10)
        assert (found.id, found.last_failure) == (case, "poison")
        assert operations.dead_cases(session, clinic_id=world.other_clinic_id, limit=10) == []
    assert look(world).dead == 1


def retry(world: World, case: str) -> bool:
    with world.sessions() as session, session.begin():
        return operations.retry_dead(session, case)


def test_a_dead_case_goes_back_to_the_computer_with_all_attempts(world: World) -> None:
    case = dead(world)
    change_row(world, case, attempt=3)
    before = row_of(world, case)

    assert retry(world, case)

    row = row_of(world, case)
    assert (row.screening_state, row.case_state, row.attempt) == ("queued", "received", 0)
    assert (row.urgency, row.due_at) == (before.urgency, before.due_at)
    assert row.queued_at > before.queued_at
    with world.sessions() as session, session.begin():
        assert screening_queue.claim_batch(session, hint=case, lease=timedelta(seconds=5), limit=1)
    assert not retry(world, case)


def test_a_case_in_a_readers_hands_is_not_retried(world: World) -> None:
    case = dead(world)
    with world.sessions() as session, session.begin():
        assert review_queue.claim(session, case, reader_id=world.bob.account_id)
    assert not retry(world, case)
    with world.sessions() as session:
        past = database_now(session) - timedelta(seconds=1)
    change_row(world, case, claim_until=past)
    with world.sessions() as session, session.begin():
        first_reads.record(
            session, case, reader_id=world.bob.account_id, blind=Impression("nv", "low")
        )
    assert not retry(world, case)
    assert row_of(world, case).screening_state == ScreeningState.DEAD


@pytest.mark.parametrize("make", ["submit", "screened"])
def test_only_a_dead_case_is_retried(world: World, make: str) -> None:
    assert not retry(world, getattr(world, make)(world.alice))


def test_a_retried_case_without_a_worker_comes_back_to_people(world: World) -> None:
    case = dead(world)
    retry(world, case)
    with world.sessions() as session, session.begin():
        assert screening_queue.give_up_waiting(session, waited=timedelta(minutes=30)) == []
        assert screening_queue.give_up_waiting(session, waited=timedelta(0)) == [case]
    assert row_of(world, case).case_state == CaseState.AWAITING_REVIEW


def test_every_query_on_a_large_table_is_bounded(world: World) -> None:
    """Each SELECT on cases or results stops at a LIMIT, or counts what already did."""
    seen: list[str] = []
    with world.sessions() as session:
        engine = session.get_bind()

        @event.listens_for(engine, "before_cursor_execute")
        def note(_c: object, _k: object, statement: str, *_: object) -> None:
            seen.append(statement)

        snapshot(session)
    large = [one for one in seen if any(t in one for t in ("submission", "screening_result"))]
    assert len(large) > 10
    assert all("LIMIT" in one for one in large)


def test_the_dead_are_found_by_an_index_of_their_own(world: World) -> None:
    with world.sessions() as session:
        statements: list[str] = []
        event.listen(
            session.get_bind(),
            "before_cursor_execute",
            lambda *all_of_it: statements.append(all_of_it[2]),
        )
        operations.dead_cases(session, clinic_id=world.clinic_id, limit=5)
        assert "'dead'" in statements[-1], "the planner must see the condition of the index"


def test_a_changed_entry_is_found_by_the_walk(world: World) -> None:
    world.screened(world.alice)
    with world.sessions() as session, session.begin():
        world.auditor.record(session, AuditAction.OPERATIONS_READ, "erin")
        session.get_one(AuditEntry, 2).actor = "somebody else"
    with world.sessions() as session:
        walk = audit_log.walk_on(session, world.auditor.key, Walk(), limit=1)
        assert (walk.sequence, walk.whole) == (1, False)
        walk = audit_log.walk_on(session, world.auditor.key, walk, limit=1)
    assert (walk.problem, walk.whole) == ("Entry 2 was changed.", True)
