"""The readers' queue: order, lists, pages, claims and hand-overs, on both databases."""

from datetime import timedelta
from functools import partial

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from clinic.access import Role
from clinic.hand_over import NOT_FOR_ME, HandOverReason
from clinic.records import dermatologists, hand_overs, review_queue
from clinic.records.db import database_now
from clinic.records.models import Account, Submission
from clinic.records.review_queue import CLAIM_LIFE, PAGE_SIZE, Cursor, Filters, QueueRow
from clinic.submission import CaseState
from tests.query_plans import plan_of
from tests.threads import at_once
from tests.waiting_cases import claim, claim_next, claim_ran_out, now, waiting
from tests.world import Person, World

EVERYTHING = Filters()


def page(
    world: World,
    reader: Person,
    filters: Filters = EVERYTHING,
    after: Cursor | None = None,
) -> list[QueueRow]:
    with world.sessions() as session:
        return review_queue.queue_page(
            session,
            clinic_id=reader.clinic_id,
            reader_id=reader.account_id,
            filters=filters,
            after=after,
        )


def shown(world: World, reader: Person, filters: Filters = EVERYTHING) -> list[str]:
    return [one.submission.id for one in page(world, reader, filters)]


def test_urgency_comes_first_and_then_the_time_that_is_left(world: World) -> None:
    soon, later = now(world) + timedelta(hours=1), now(world) + timedelta(days=3)
    routine_soon = waiting(world, urgency=2, due_at=soon)
    urgent_later = waiting(world, urgency=0, due_at=later)
    suspicious = waiting(world, urgency=1, due_at=soon)
    urgent_soon = waiting(world, urgency=0, due_at=soon)

    assert shown(world, world.bob) == [urgent_soon, urgent_later, suspicious, routine_soon]


def test_only_cases_that_wait_for_a_reader_of_this_clinic_are_shown(world: World) -> None:
    world.signed(world.alice, world.bob)
    world.submit(world.alice)
    case = waiting(world)
    assert shown(world, world.dan) == [case]
    assert shown(world, world.frank) == []


def test_the_pages_show_every_case_exactly_once(world: World) -> None:
    first = world.submit(world.alice)
    with world.sessions() as session, session.begin():
        model = session.get_one(Submission, first)
        values = {
            column.name: getattr(model, column.name) for column in Submission.__table__.columns
        }
        values |= {"case_state": CaseState.AWAITING_REVIEW}
        for number in range(2 * PAGE_SIZE + 7):  # many share urgency and due time
            due = values["due_at"] + timedelta(minutes=number % 3)
            session.add(
                Submission(
                    **{**values, "id": f"{number:032x}", "urgency": number % 3, "due_at": due}
                )
            )
    seen: list[str] = []
    after: Cursor | None = None
    while True:
        rows = page(world, world.bob, after=after)
        seen += [one.submission.id for one in rows[:PAGE_SIZE]]
        if len(rows) <= PAGE_SIZE:
            break
        last = rows[PAGE_SIZE - 1].submission
        after = Cursor(last.urgency or 0, last.due_at, last.id)

    assert len(seen) == 2 * PAGE_SIZE + 7
    assert len(set(seen)) == len(seen)
    with world.sessions() as session:
        order = (Submission.urgency, Submission.due_at, Submission.id)
        query = select(Submission.id).where(Submission.case_state == CaseState.AWAITING_REVIEW)
        assert seen == list(session.scalars(query.order_by(*order)))


def test_each_list_and_filter_shows_its_cases_and_counts_them(world: World) -> None:
    past, future = now(world) - timedelta(hours=1), now(world) + timedelta(hours=1)
    mine = waiting(world, claimed_by=world.bob.account_id, claim_until=future, due_at=future)
    taken = waiting(world, claimed_by=world.dan.account_id, claim_until=future, due_at=future)
    lapsed = waiting(world, claimed_by=world.bob.account_id, claim_until=past, due_at=future)
    urgent = waiting(world, urgency=0, due_at=future)
    overdue = waiting(world, due_at=past)
    face = waiting(world, body_site="face", due_at=future)
    asked = waiting(world, case_state=CaseState.UNREADABLE, retake_reason="Blurred.")

    expected = {
        EVERYTHING: {mine, taken, lapsed, urgent, overdue, face},
        Filters(mine=True): {mine},
        Filters(unclaimed=True): {lapsed, urgent, overdue, face},
        Filters(held=True): {mine, taken},
        Filters(waiting=True): {asked},
        Filters(urgent=True): {urgent},
        Filters(overdue=True): {overdue},
        Filters(site="face"): {face},
        Filters(unclaimed=True, overdue=True): {overdue},
        Filters(site="face", held=True): set(),
        Filters(site="back", waiting=True): {asked},
    }
    for filters, cases in expected.items():
        assert set(shown(world, world.bob, filters)) == cases, filters
    with world.sessions() as session:
        named = {str(filters): filters for filters in expected}
        counts = review_queue.counts(
            session, named, clinic_id=world.clinic_id, reader_id=world.bob.account_id
        )
    assert counts == {str(filters): len(cases) for filters, cases in expected.items()}


def test_counts_stop_where_nobody_reads_on(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(review_queue, "COUNT_LIMIT", 2)
    past = now(world) - timedelta(hours=1)
    for urgency in (0, 0, 1, 1, 2):
        waiting(world, urgency=urgency, due_at=past)
    asked = {"all": EVERYTHING, "mine": Filters(mine=True), "overdue": Filters(overdue=True)}
    with world.sessions() as session:
        found = review_queue.counts(
            session, asked, clinic_id=world.clinic_id, reader_id=world.bob.account_id
        )
    assert found == {"all": 3, "mine": 0, "overdue": 3}


def test_overdue_cases_come_by_urgency_page_by_page(world: World) -> None:
    past = now(world) - timedelta(hours=1)
    cases = [
        waiting(world, urgency=urgency, due_at=past - timedelta(minutes=early))
        for urgency in (0, 1, 2)
        for early in (2, 1)
    ]
    waiting(world, urgency=0, due_at=now(world) + timedelta(hours=1))
    assert shown(world, world.bob, Filters(overdue=True)) == cases
    with world.sessions() as session:
        third = session.get_one(Submission, cases[2])
    behind = Cursor(third.urgency or 0, third.due_at, third.id)
    rest = page(world, world.bob, Filters(overdue=True), behind)
    assert [one.submission.id for one in rest] == cases[3:]


@pytest.mark.parametrize(
    ("filters", "index"),
    [
        *(
            (one, "submission_review_order")
            for one in (
                EVERYTHING,
                Filters(unclaimed=True),
                Filters(urgent=True),
                Filters(overdue=True),
            )
        ),
        (Filters(site="face"), "submission_review_by_site"),
        (Filters(waiting=True), "submission_waiting_for_photos"),
    ],
)
def test_each_filter_reads_the_small_index_of_its_cases(
    world: World, filters: Filters, index: str
) -> None:
    plan = plan_of(world.sessions, lambda _: page(world, world.bob, filters))
    assert index in plan or "submission_review_order" in plan  # of a few rows, the shorter one


def test_the_next_case_and_the_counts_read_the_same_indexes(world: World) -> None:
    def counts(session: Session) -> None:
        review_queue.counts(
            session,
            {"all": EVERYTHING},
            clinic_id=world.clinic_id,
            reader_id=world.bob.account_id,
        )

    of_next = plan_of(world.sessions, lambda _: claim_next(world, world.bob))
    for plan in (plan_of(world.sessions, counts), of_next):
        # Of a few rows both indexes of the queue cost the same.
        assert "submission_review_order" in plan or "submission_review_by_site" in plan


def test_cases_that_wait_for_their_patient_come_by_time_left_page_by_page(world: World) -> None:
    due = now(world)
    cases = [
        waiting(
            world,
            case_state=CaseState.UNREADABLE,
            retake_reason="Blurred.",
            urgency=urgency,
            due_at=due + timedelta(hours=hours),
        )
        for hours, urgency in ((1, 2), (2, None), (3, 0))
    ]
    everything = Filters(waiting=True)
    assert shown(world, world.bob, everything) == cases
    behind = Cursor(0, due + timedelta(hours=1), cases[0])
    rest = page(world, world.bob, everything, behind)
    assert [one.submission.id for one in rest] == cases[1:]


def test_a_row_of_the_queue_names_its_holder(world: World) -> None:
    case = world.claimed(world.alice, world.bob)
    (row,) = page(world, world.dan)
    assert row.submission.id == case
    assert row.holder is not None
    assert row.holder.id == world.bob.account_id


def test_a_row_of_the_queue_carries_its_result(world: World) -> None:
    world.screened(world.alice)
    dead = waiting(world)
    found = {one.submission.id: one.result for one in page(world, world.bob)}
    assert found.pop(dead) is None
    assert [one.ai_used for one in found.values() if one] == [True]


def test_a_claim_holds_for_its_reader_until_it_runs_out(world: World) -> None:
    case = waiting(world)
    assert claim(world, case, world.bob)
    assert claim(world, case, world.bob)
    assert not claim(world, case, world.dan)

    claim_ran_out(world, case)
    assert claim(world, case, world.dan)
    assert not claim(world, case, world.bob)


def test_a_claim_lasts_as_long_as_is_promised(world: World) -> None:
    case = waiting(world)
    claim(world, case, world.bob)
    with world.sessions() as session:
        row = session.get_one(Submission, case)
        left = (row.claim_until or row.due_at) - database_now(session)
    assert timedelta(0) < CLAIM_LIFE - left < timedelta(seconds=20)


@pytest.mark.parametrize("state", [CaseState.RECEIVED, CaseState.SIGNED])
def test_only_a_case_in_review_can_be_claimed(world: World, state: CaseState) -> None:
    case = waiting(world, case_state=state)
    assert not claim(world, case, world.bob)
    assert claim_next(world, world.bob) is None


def hand_over(
    world: World,
    case: str,
    reader: Person,
    *,
    to: Person | None = None,
    reason: HandOverReason = HandOverReason.END_OF_SHIFT,
) -> bool:
    with world.sessions() as session, session.begin():
        return review_queue.hand_over(
            session,
            session.get_one(Submission, case),
            reader_id=reader.account_id,
            to_id=to.account_id if to else None,
            reason=reason,
        )


def test_a_case_given_to_the_pool_is_free_for_all_but_only_its_reader_gives_it(
    world: World,
) -> None:
    case = waiting(world)
    claim(world, case, world.bob)
    done = [hand_over(world, case, reader) for reader in (world.dan, world.bob, world.bob)]
    assert done == [False, True, False]
    assert claim(world, case, world.dan)


def test_a_case_given_to_a_colleague_is_theirs_and_its_clock_runs_on(world: World) -> None:
    case = waiting(world)
    claim(world, case, world.bob)
    before = row(world, case).due_at

    assert hand_over(world, case, world.bob, to=world.dan, reason=HandOverReason.OTHER_EXPERTISE)

    after = row(world, case)
    assert (after.claimed_by, after.due_at) == (world.dan.account_id, before)
    assert after.claim_until is not None
    assert after.claim_until > now(world) + CLAIM_LIFE
    assert not claim(world, case, world.bob)
    assert shown(world, world.dan, Filters(mine=True)) == [case]
    with world.sessions() as session:
        last = hand_overs.last_hand_over(session, case)
    assert last is not None
    assert (last.from_id, last.to_id) == (world.bob.account_id, world.dan.account_id)
    assert last.reason == HandOverReason.OTHER_EXPERTISE


def test_a_claim_that_ran_out_cannot_be_handed_over(world: World) -> None:
    case = waiting(world)
    claim(world, case, world.bob)
    claim_ran_out(world, case)
    assert not hand_over(world, case, world.bob, to=world.dan)


@pytest.mark.parametrize("reason", HandOverReason)
def test_next_serves_no_case_that_this_reader_passed_on_to_others(
    world: World, reason: HandOverReason
) -> None:
    case = waiting(world)
    claim(world, case, world.bob)
    hand_over(world, case, world.bob, reason=reason)

    served_again = claim_next(world, world.bob) == case
    assert served_again == (reason not in NOT_FOR_ME)
    if not served_again:
        assert claim_next(world, world.dan) == case


def row(world: World, case: str) -> Submission:
    with world.sessions() as session:
        return session.get_one(Submission, case)


def test_activity_renews_a_claim_of_its_holder_alone(world: World) -> None:
    case = waiting(world)
    claim(world, case, world.bob)
    nearly_over = now(world) + timedelta(minutes=2)
    for reader, renewed in ((world.dan, False), (world.bob, True)):
        with world.sessions() as session, session.begin():
            session.get_one(Submission, case).claim_until = nearly_over
            review_queue.renew(session, case, reader_id=reader.account_id)
        until = row(world, case).claim_until
        assert until is not None
        assert (until > nearly_over) is renewed


def test_a_claim_that_ran_out_is_not_renewed_and_a_longer_one_is_not_cut(world: World) -> None:
    case = waiting(world)
    claim(world, case, world.bob)
    for until in (now(world) - timedelta(seconds=1), now(world) + timedelta(hours=3)):
        with world.sessions() as session, session.begin():
            session.get_one(Submission, case).claim_until = until
            review_queue.renew(session, case, reader_id=world.bob.account_id)
        assert row(world, case).claim_until == until


def test_claims_that_ran_out_are_taken_away_and_others_stay(world: World) -> None:
    lapsed, held = waiting(world), waiting(world)
    for case in (lapsed, held):
        claim(world, case, world.bob)
    claim_ran_out(world, lapsed)
    with world.sessions() as session, session.begin():
        assert [one.id for one in review_queue.expire_claims(session)] == [lapsed]
    assert row(world, lapsed).claimed_by is None
    assert row(world, held).claimed_by == world.bob.account_id
    plan = plan_of(world.sessions, review_queue.expire_claims)
    assert "index" in plan.lower()


def test_a_case_that_waits_for_a_second_read_stays_with_its_own_reader(world: World) -> None:
    case = world.first_read(world.alice, world.bob)
    world.ask_second(case, world.bob)
    claim_ran_out(world, case)

    with world.sessions() as session, session.begin():
        assert review_queue.expire_claims(session) == []

    assert not claim(world, case, world.dan)
    for filters in (Filters(mine=True), Filters(held=True)):
        (shown,) = page(world, world.bob, filters)
        assert (shown.submission.id, shown.waits_for_second) == (case, True)
    assert page(world, world.bob, Filters(unclaimed=True)) == []
    assert claim(world, case, world.bob)


def test_colleagues_are_the_clinic_s_other_dermatologists_who_can_sign_in(world: World) -> None:
    gone = world.add_person("gone", Role.DERMATOLOGIST)
    with world.sessions() as session, session.begin():
        session.get_one(Account, gone.account_id).disabled_at = database_now(session)
        found = dermatologists.of_clinic(session, world.clinic_id, but=[world.bob.account_id])
        assert [one.id for one in found] == [world.dan.account_id]


def test_readers_who_ask_at_once_never_get_the_same_case(world: World) -> None:
    cases = {waiting(world) for _ in range(6)}
    readers = [world.bob, world.dan, world.erin, world.carol] * 2

    taken = at_once(*(partial(claim_next, world, reader) for reader in readers))

    got = [case for case in taken if case is not None]
    assert len(got) == len(set(got))
    rest = [claim_next(world, world.bob) for _ in range(7)]
    assert {*got, *rest} - {None} == cases


def test_one_case_goes_to_one_of_many_readers(world: World) -> None:
    case = waiting(world)
    readers = [world.bob, world.dan, world.erin, world.carol]
    answers = at_once(*(partial(claim, world, case, reader) for reader in readers))
    assert sorted(answers) == [False, False, False, True]
