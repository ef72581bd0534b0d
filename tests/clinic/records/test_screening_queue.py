"""The row is the queue: claims, leases, fences, attempts, on both databases."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from functools import partial
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from clinic.due_time import Clock, ServiceTimes
from clinic.records import review, screening_queue, submissions
from clinic.records.db import database_now
from clinic.records.models import ScreeningResult, Submission
from clinic.records.screening_queue import URGENCY_WITHOUT_AI, Claim, Finding
from clinic.submission import MAX_ATTEMPTS, CaseState, ScreeningState
from tests.threads import at_once
from tests.waiting_cases import now
from tests.world import World

LEASE = timedelta(seconds=30)
SOON = timedelta(0)
FINDING = Finding(
    ai_used=True,
    urgency=2,
    reasons=("Nothing raised the urgency.",),
    quality_flags=(),
    stage_seconds={"open": 0.1},
    probabilities={"nv": 1.0},
    model_fingerprint="f" * 64,
)


def claim(world: World, hint: str | None = None) -> Claim | None:
    with world.sessions() as session, session.begin():
        return next(iter(claimed(session, hint)), None)


def claimed(session: Session, hint: str | None = None, limit: int = 1, **how: bool) -> list[Claim]:
    return screening_queue.claim_batch(session, hint=hint, lease=LEASE, limit=limit, **how)


def held(world: World) -> Claim:
    found = claim(world)
    assert found is not None
    return found


def act(world: World, step: Callable[..., object], *args: object, **kwargs: object) -> object:
    with world.sessions() as session, session.begin():
        return step(session, *args, **kwargs)


def change(world: World, case: str, **values: object) -> None:
    with world.sessions() as session, session.begin():
        session.execute(update(Submission).where(Submission.id == case).values(**values))


def lease_ran_out(world: World, case: str) -> None:
    with world.sessions() as session, session.begin():
        past = database_now(session) - timedelta(seconds=1)
        session.execute(update(Submission).where(Submission.id == case).values(lease_until=past))


def row(world: World, case: str) -> Submission:
    with world.sessions() as session:
        found = submissions.find(session, case)
    assert found is not None
    return found


def test_a_claim_takes_the_row_with_token_and_lease(world: World) -> None:
    case = world.submit(world.alice)

    taken = held(world)

    assert (taken.submission_id, taken.attempt, taken.ai_permitted) == (case, 1, True)
    found = row(world, case)
    assert found.screening_state == ScreeningState.RUNNING
    assert found.token == taken.token
    assert found.lease_until is not None
    assert claim(world) is None


def test_the_hinted_case_comes_first_and_then_the_oldest(world: World) -> None:
    first, second, third = (world.submit(world.alice) for _ in range(3))

    assert claim(world, hint=third).submission_id == third  # type: ignore[union-attr]
    assert held(world).submission_id == first
    assert claim(world, hint="no such case").submission_id == second  # type: ignore[union-attr]


def test_a_case_that_is_not_due_yet_is_left(world: World) -> None:
    case = world.submit(world.alice)
    act(world, screening_queue.give_back, held(world), reason="x", delay=LEASE, spent=True)

    assert claim(world, hint=case) is None


def test_a_suspect_waits_behind_fresh_cases_and_is_taken_alone(world: World) -> None:
    suspect = world.submit(world.alice)
    act(world, screening_queue.give_back, held(world), reason="crash", delay=SOON, spent=True)
    fresh = world.submit(world.alice)

    assert held(world).submission_id == fresh
    assert held(world).submission_id == suspect


def batch(world: World, hint: str | None = None, limit: int = 8, **how: bool) -> list[Claim]:
    with world.sessions() as session, session.begin():
        return claimed(session, hint, limit, **how)


def ids(claims: list[Claim]) -> list[str]:
    return [one.submission_id for one in claims]


def suspect_of(world: World) -> str:
    """A case whose first attempt failed."""
    case = world.submit(world.alice)
    claims = batch(world, hint=case, limit=1)
    act(world, screening_queue.give_back, claims[0], reason="crash", delay=SOON, spent=True)
    return case


def test_a_batch_is_the_hinted_case_and_then_the_oldest_under_one_token(world: World) -> None:
    first, second, hinted, _ = (world.submit(world.alice) for _ in range(4))

    taken = batch(world, hint=hinted, limit=3)

    assert ids(taken) == [hinted, first, second]
    assert len({one.token for one in taken}) == 1
    assert {row(world, one).token for one in (hinted, first, second)} == {taken[0].token}


def test_a_suspect_is_never_in_a_batch_with_others(world: World) -> None:
    suspect = suspect_of(world)
    fresh = [world.submit(world.alice) for _ in range(3)]

    assert ids(batch(world, hint=fresh[2])) == [fresh[2], *fresh[:2]]
    assert ids(batch(world)) == [suspect]
    assert ids(batch(world)) == []


def test_a_hinted_suspect_comes_first_and_alone(world: World) -> None:
    suspect = suspect_of(world)
    fresh = world.submit(world.alice)

    assert ids(batch(world, hint=suspect)) == [suspect]
    assert ids(batch(world)) == [fresh]


def test_two_suspects_are_taken_one_after_the_other(world: World) -> None:
    suspects = {suspect_of(world), suspect_of(world)}
    taken = [batch(world), batch(world)]
    assert {ids(one)[0] for one in taken} == suspects
    assert [len(one) for one in taken] == [1, 1]


def test_whoever_has_other_work_in_hand_takes_no_suspect(world: World) -> None:
    suspect = suspect_of(world)
    assert batch(world, hint=suspect, suspects=False) == []
    fresh = world.submit(world.alice)
    assert ids(batch(world, suspects=False)) == [fresh]


def test_many_workers_share_a_queue_without_a_gap_or_a_double(world: World) -> None:
    """Fresh cases and suspects, claimed in batches with hints that collide."""
    suspects = {suspect_of(world) for _ in range(3)}
    fresh = {world.submit(world.alice) for _ in range(21)}
    hints = [*suspects, *sorted(fresh)[:3], None]

    def work(number: int) -> list[list[str]]:
        taken, empty = [], 0
        while empty < 3:  # what another worker has locked at that moment is passed by
            found = ids(batch(world, hint=hints[number % len(hints)], limit=1 + number % 4))
            empty = 0 if found else empty + 1
            taken.append(found)
        return taken

    batches = [one for taken in at_once(*[partial(work, n) for n in range(12)]) for one in taken]

    every = [case for one in batches for case in one]
    assert sorted(every) == sorted(suspects | fresh)
    assert all(len(one) == 1 for one in batches if set(one) & suspects)


def test_eight_workers_with_the_same_hint_give_it_to_one(world: World) -> None:
    case = world.submit(world.alice)
    taken = at_once(*[partial(claim, world, case)] * 8)
    assert [found.submission_id for found in taken if found] == [case]


def test_a_heartbeat_keeps_the_lease(world: World) -> None:
    case = world.submit(world.alice)
    taken = held(world)
    lease_ran_out(world, case)

    assert act(world, screening_queue.extend_leases, [taken.token], LEASE) == 1
    assert act(world, screening_queue.extend_leases, ["no token"], LEASE) == 0
    assert act(world, screening_queue.expire_leases) == ([], [])
    assert act(world, screening_queue.holds_lease, case, taken.token) is True


def test_only_the_token_of_a_living_lease_holds_it(world: World) -> None:
    case = world.submit(world.alice)
    taken = held(world)

    def holds(token: str | None) -> object:
        return act(world, screening_queue.holds_lease, case, token)

    assert holds(taken.token) is True
    assert holds("0" * 32) is False
    assert holds(None) is False
    lease_ran_out(world, case)
    assert holds(taken.token) is False
    assert act(world, screening_queue.holds_lease, "no such case", taken.token) is False


def test_a_lease_that_ran_out_frees_the_case(world: World) -> None:
    case = world.submit(world.alice)
    held(world)
    lease_ran_out(world, case)

    assert act(world, screening_queue.expire_leases) == ([], [case])

    found = row(world, case)
    assert (found.screening_state, found.token, found.attempt) == (ScreeningState.QUEUED, None, 1)
    assert held(world).attempt == 2


def test_a_living_lease_is_left_alone(world: World) -> None:
    world.submit(world.alice)
    held(world)
    assert act(world, screening_queue.expire_leases) == ([], [])


def lost(world: World, case: str, times: int) -> None:
    """So many workers died while they held the case."""
    for _ in range(times):
        assert held(world).submission_id == case
        lease_ran_out(world, case)
        act(world, screening_queue.expire_leases)


def test_after_three_lost_leases_the_photo_is_looked_at_once_more(world: World) -> None:
    case = world.submit(world.alice)
    lost(world, case, MAX_ATTEMPTS - 1)
    third = held(world)
    lease_ran_out(world, case)

    assert act(world, screening_queue.expire_leases) == ([], [case])

    assert not third.is_last_look
    assert held(world).is_last_look


def test_after_a_lost_last_look_people_read_the_case_without_the_computer(world: World) -> None:
    case = world.submit(world.alice)
    lost(world, case, MAX_ATTEMPTS)
    held(world)
    lease_ran_out(world, case)

    assert act(world, screening_queue.expire_leases) == ([case], [])

    found = row(world, case)
    assert found.screening_state == ScreeningState.DEAD
    assert found.case_state == CaseState.AWAITING_REVIEW
    assert found.urgency == URGENCY_WITHOUT_AI
    assert found.last_failure == screening_queue.WORKERS_DIED
    assert claim(world, hint=case) is None


LATE = {
    "finish": lambda s, c: screening_queue.finish(s, c, FINDING),
    "retake": lambda s, c: screening_queue.ask_for_retake(s, c, "blurred"),
    "give back": lambda s, c: screening_queue.give_back(s, c, reason="x", delay=SOON, spent=True),
    "give up": lambda s, c: screening_queue.give_up(s, c, reason="x"),
    "heartbeat": lambda s, c: screening_queue.extend_leases(s, [c.token], LEASE) == 1,
}


@pytest.mark.parametrize("late", LATE.values(), ids=list(LATE))
def test_a_worker_that_comes_too_late_writes_nothing(
    world: World, late: Callable[[Session, Claim], bool]
) -> None:
    case = world.submit(world.alice)
    slow = held(world)
    lease_ran_out(world, case)
    act(world, screening_queue.expire_leases)
    other = held(world)
    before = vars(row(world, case)).copy()

    assert act(world, late, slow) is False

    after = vars(row(world, case))
    columns = [column.name for column in Submission.__table__.columns]
    assert {name: after[name] for name in columns} == {name: before[name] for name in columns}
    assert act(world, screening_queue.finish, other, FINDING) is True


def test_a_finish_writes_one_result_and_hands_the_case_on(world: World) -> None:
    case = world.submit(world.alice)
    taken = held(world)

    assert act(world, screening_queue.finish, taken, FINDING) is True
    assert act(world, screening_queue.finish, taken, FINDING) is False

    found = row(world, case)
    assert (found.screening_state, found.case_state) == (
        ScreeningState.DONE,
        CaseState.AWAITING_REVIEW,
    )
    assert (found.urgency, found.token, found.lease_until) == (2, None, None)
    with world.sessions() as session:
        result = review.result_of(session, case)
    assert result is not None
    assert result.probabilities == {"nv": 1.0}


def test_two_finishes_at_once_leave_one_result(world: World) -> None:
    case = world.submit(world.alice)
    finish = partial(act, world, screening_queue.finish, held(world), FINDING)

    assert sorted(at_once(*[finish] * 4)) == [False, False, False, True]  # type: ignore[type-var]
    with world.sessions() as session:
        assert session.query(ScreeningResult).filter_by(submission_id=case).count() == 1


def test_the_database_itself_refuses_a_second_result(world: World) -> None:
    case = world.screened(world.alice)
    with world.sessions() as session:
        second = ScreeningResult(
            submission_id=case,
            clinic_id=world.clinic_id,
            ai_used=False,
            quality_flags=[],
            urgency=1,
            reasons=[],
            stage_seconds={},
            finished_at=database_now(session),
        )
        session.add(second)
        with pytest.raises(IntegrityError):
            session.flush()


def test_a_fault_of_the_case_spends_an_attempt_and_the_third_is_the_last(world: World) -> None:
    case = world.submit(world.alice)
    for attempt in (1, 2):
        taken = held(world)
        assert taken.attempt == attempt
        act(world, screening_queue.give_back, taken, reason="ValueError", delay=SOON, spent=True)
        assert row(world, case).last_failure == "ValueError"
    act(world, screening_queue.give_back, held(world), reason="again", delay=SOON, spent=True)

    found = row(world, case)
    assert (found.screening_state, found.case_state) == (
        ScreeningState.DEAD,
        CaseState.AWAITING_REVIEW,
    )
    assert found.last_failure == "again"


def test_a_fault_outside_the_case_gives_the_attempt_back(world: World) -> None:
    case = world.submit(world.alice)
    for _ in range(MAX_ATTEMPTS + 2):
        taken = held(world)
        assert taken.attempt == 1
        act(world, screening_queue.give_back, taken, reason="keeper", delay=SOON, spent=False)
    found = row(world, case)
    assert (found.screening_state, found.attempt) == (ScreeningState.QUEUED, 0)


def test_a_long_reason_is_cut_to_its_column(world: World) -> None:
    case = world.submit(world.alice)
    act(world, screening_queue.give_back, held(world), reason="x" * 999, delay=SOON, spent=True)
    assert row(world, case).last_failure == "x" * 200


def test_nobody_waits_for_a_worker_for_ever(world: World) -> None:
    old, young = world.submit(world.alice), world.submit(world.carol)
    with world.sessions() as session:
        long_ago = database_now(session) - timedelta(hours=1)
    change(world, old, queued_at=long_ago)

    assert act(world, screening_queue.give_up_waiting, waited=timedelta(minutes=30)) == [old]

    found = row(world, old)
    assert (found.screening_state, found.case_state) == (
        ScreeningState.DEAD,
        CaseState.AWAITING_REVIEW,
    )
    assert found.last_failure == "no analysis worker was available"
    assert row(world, young).screening_state == ScreeningState.QUEUED


def test_a_case_that_a_worker_holds_is_not_given_up(world: World) -> None:
    case = world.submit(world.alice)
    held(world)
    with world.sessions() as session:
        change_to = database_now(session) - timedelta(hours=1)
    change(world, case, queued_at=change_to)
    assert act(world, screening_queue.give_up_waiting, waited=timedelta(minutes=30)) == []


@pytest.mark.parametrize(
    ("before", "found", "after"), [(0, 2, 0), (1, 2, 1), (2, 1, 1), (None, 2, 2)]
)
def test_urgency_only_rises(world: World, before: int | None, found: int, after: int) -> None:
    case = world.submit(world.alice)
    change(world, case, urgency=before)
    finding = Finding(**{**vars(FINDING), "urgency": found})

    act(world, screening_queue.finish, held(world), finding)

    assert row(world, case).urgency == after


def test_giving_up_does_not_lower_an_urgent_case(world: World) -> None:
    case = world.submit(world.alice)
    change(world, case, urgency=0)
    act(world, screening_queue.give_up, held(world), reason="x")
    assert row(world, case).urgency == 0


def test_a_bad_photo_is_a_state_with_a_reason(world: World) -> None:
    case = world.submit(world.alice)
    assert act(world, screening_queue.ask_for_retake, held(world), "It is blurred.") is True

    found = row(world, case)
    assert (found.case_state, found.retake_reason) == (CaseState.UNREADABLE, "It is blurred.")
    assert claim(world, hint=case) is None


def test_hints_go_to_due_rows_and_not_twice_within_seconds(world: World) -> None:
    first, second, running = (world.submit(world.alice) for _ in range(3))
    claim(world, hint=running)

    def waiting(limit: int = 50) -> object:
        return act(world, screening_queue.waiting_for_hint, limit=limit)

    assert waiting() == [first, second]
    assert waiting(limit=1) == [first]
    act(world, screening_queue.stamp_hints, [first])
    assert waiting() == [second]
    with world.sessions() as session:
        then = database_now(session) - screening_queue.HINT_AGAIN_AFTER - timedelta(seconds=1)
    change(world, first, hinted_at=then)
    assert waiting() == [first, second]


def test_running_without_a_token_is_impossible(world: World) -> None:
    case = world.submit(world.alice)
    with pytest.raises(IntegrityError, match="submission_running_has_token_and_lease"):
        change(world, case, screening_state="running")


def test_review_without_an_urgency_is_impossible(world: World) -> None:
    case = world.submit(world.alice)
    with pytest.raises(IntegrityError, match="submission_in_review_has_urgency"):
        change(world, case, case_state="awaiting_review")


def test_giving_up_without_a_reason_is_impossible(world: World) -> None:
    case = world.submit(world.alice)
    with pytest.raises(IntegrityError, match="submission_dead_has_reason"):
        change(world, case, screening_state="dead")


def test_only_the_front_of_a_long_queue_is_hinted(world: World) -> None:
    first, second, _ = (world.submit(world.alice) for _ in range(3))
    waiting = partial(act, world, screening_queue.waiting_for_hint, limit=2)

    assert waiting() == [first, second]
    act(world, screening_queue.stamp_hints, [first, second])
    assert waiting() == []


def test_a_hint_that_nobody_took_up_is_noticed(world: World) -> None:
    noticed = partial(act, world, screening_queue.hints_are_waiting)
    case = world.submit(world.alice)
    assert noticed() is False  # the relay or the broker is away: no worker can know

    act(world, screening_queue.stamp_hints, [case])
    assert noticed() is True

    held(world)
    assert noticed() is False


def test_a_hint_of_long_ago_tells_nothing_of_the_workers(world: World) -> None:
    case = world.submit(world.alice)
    act(world, screening_queue.stamp_hints, [case])
    with world.sessions() as session, session.begin():
        long_ago = database_now(session) - timedelta(minutes=1)
        session.execute(update(Submission).values(hinted_at=long_ago))
    assert act(world, screening_queue.hints_are_waiting) is False


def test_what_a_wrong_clock_put_off_for_hours_is_due(world: World) -> None:
    """The clock was ahead and is right again: its times must hold nothing up until then."""
    waiting, running = world.submit(world.alice), world.submit(world.alice)
    claim(world, hint=running)
    with world.sessions() as session:
        ahead = database_now(session) + screening_queue.LONGEST_AHEAD + timedelta(minutes=1)
    change(world, waiting, not_before=ahead, hinted_at=ahead)
    change(world, running, lease_until=ahead)

    assert act(world, screening_queue.waiting_for_hint, limit=50) == [waiting]
    assert held(world).submission_id == waiting
    assert act(world, screening_queue.expire_leases) == ([], [running])


def finish(world: World, **changed: object) -> Submission:
    """A case that came two days ago, of which its worker found this."""
    case = world.submit(world.alice)
    past = now(world) - timedelta(days=2)
    change(world, case, received_at=past, due_at=past + timedelta(days=40))
    found = held(world)
    act(world, screening_queue.finish, found, replace(FINDING, **changed))
    return row(world, case)


def test_poor_photos_bring_the_date_to_the_limit_for_asking_again(world: World) -> None:
    sharp, poor = finish(world, urgency=2), finish(world, urgency=2, quality_flags=("blur",))
    times = ServiceTimes(timezone=ZoneInfo("Europe/London"))
    assert sharp.due_at == times.due_at(Clock.ROUTINE, start=sharp.received_at)
    assert poor.due_at == times.due_at(Clock.RETAKE, start=poor.queued_at)


def test_a_suspicious_finding_starts_the_28_days_and_asks_for_a_look(world: World) -> None:
    for urgency, runs in ((0, True), (1, True), (2, False)):
        found = finish(world, urgency=urgency)
        assert (found.told_by is not None) is runs
        assert found.escalate_at is not None
        assert found.escalate_at <= now(world)
