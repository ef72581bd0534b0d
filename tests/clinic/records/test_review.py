"""The readers' queue: order, pages, filters, claims, signatures, on both databases."""

from datetime import datetime, timedelta
from functools import partial

import pytest
from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from clinic.records import review, sealed_objects, submissions
from clinic.records.db import database_now
from clinic.records.models import SignedReport, Submission
from clinic.records.review import (
    CLAIM_LIFE,
    PAGE_SIZE,
    Cursor,
    Decision,
    Filters,
    Impression,
    NotOwnerError,
    QueueRow,
)
from clinic.submission import CaseState
from tests.query_plans import plan_of
from tests.threads import at_once
from tests.world import Person, World

EVERYTHING = Filters()


def waiting(world: World, **values: object) -> str:
    """A case that waits for a reader."""
    case = world.submit(world.alice)
    changed = {"case_state": CaseState.AWAITING_REVIEW, "urgency": 2, **values}
    with world.sessions() as session, session.begin():
        session.execute(update(Submission).where(Submission.id == case).values(**changed))
    return case


def page(
    world: World,
    reader: Person,
    filters: Filters = EVERYTHING,
    after: Cursor | None = None,
) -> list[QueueRow]:
    with world.sessions() as session:
        return review.queue_page(
            session,
            clinic_id=reader.clinic_id,
            reader_id=reader.account_id,
            filters=filters,
            after=after,
        )


def shown(world: World, reader: Person, filters: Filters = EVERYTHING) -> list[str]:
    return [one.submission.id for one in page(world, reader, filters)]


def now(world: World) -> datetime:
    with world.sessions() as session:
        return database_now(session)


def claim(world: World, case: str, reader: Person) -> bool:
    with world.sessions() as session, session.begin():
        return review.claim(session, case, reader_id=reader.account_id)


def claim_next(world: World, reader: Person) -> str | None:
    with world.sessions() as session, session.begin():
        found = review.claim_next(session, clinic_id=reader.clinic_id, reader_id=reader.account_id)
        return found.id if found else None


def claim_ran_out(world: World, case: str) -> None:
    with world.sessions() as session, session.begin():
        past = database_now(session) - timedelta(seconds=1)
        session.execute(update(Submission).where(Submission.id == case).values(claim_until=past))


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


def test_each_filter_shows_its_cases_and_counts_them(world: World) -> None:
    past, future = now(world) - timedelta(hours=1), now(world) + timedelta(hours=1)
    mine = waiting(world, claimed_by=world.bob.account_id, claim_until=future, due_at=future)
    taken = waiting(world, claimed_by=world.dan.account_id, claim_until=future, due_at=future)
    lapsed = waiting(world, claimed_by=world.bob.account_id, claim_until=past, due_at=future)
    urgent = waiting(world, urgency=0, due_at=future)
    overdue = waiting(world, due_at=past)

    expected = {
        "all": {mine, taken, lapsed, urgent, overdue},
        "mine": {mine},
        "unclaimed": {lapsed, urgent, overdue},
        "urgent": {urgent},
        "overdue": {overdue},
    }
    for name, cases in expected.items():
        filters = EVERYTHING if name == "all" else Filters(**{name: True})
        assert set(shown(world, world.bob, filters)) == cases
    assert set(shown(world, world.bob, Filters(unclaimed=True, overdue=True))) == {overdue}
    with world.sessions() as session:
        counts = review.counts(session, clinic_id=world.clinic_id, reader_id=world.bob.account_id)
    assert counts == {name: len(cases) for name, cases in expected.items()}


def test_counts_stop_where_nobody_reads_on(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(review, "COUNT_LIMIT", 2)
    past = now(world) - timedelta(hours=1)
    for urgency in (0, 0, 1, 1, 2):
        waiting(world, urgency=urgency, due_at=past)
    with world.sessions() as session:
        found = review.counts(session, clinic_id=world.clinic_id, reader_id=world.bob.account_id)
    assert found == {"all": 3, "mine": 0, "unclaimed": 3, "urgent": 2, "overdue": 3}


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


@pytest.mark.parametrize("name", ["all", "unclaimed", "urgent", "overdue"])
def test_each_filter_reads_the_small_index_of_open_cases(world: World, name: str) -> None:
    filters = EVERYTHING if name == "all" else Filters(**{name: True})
    plan = plan_of(world.sessions, lambda _: page(world, world.bob, filters))
    assert "submission_review_order" in plan


def test_the_next_case_and_the_counts_read_the_same_indexes(world: World) -> None:
    def counts(session: Session) -> None:
        review.counts(session, clinic_id=world.clinic_id, reader_id=world.bob.account_id)

    assert "submission_review_order" in plan_of(world.sessions, counts)
    assert "submission_review_order" in plan_of(
        world.sessions, lambda _: claim_next(world, world.bob)
    )


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


def test_a_released_case_is_free_for_all_but_only_its_reader_releases_it(world: World) -> None:
    case = waiting(world)
    claim(world, case, world.bob)
    for reader, released in ((world.dan, False), (world.bob, True), (world.bob, False)):
        with world.sessions() as session, session.begin():
            assert review.release(session, case, reader_id=reader.account_id) is released
    assert claim(world, case, world.dan)


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


def test_the_first_blind_impression_stays(world: World) -> None:
    case = waiting(world)
    for impression in ("nv", "mel"):
        with world.sessions() as session, session.begin():
            review.record_first_read(
                session,
                case,
                reader_id=world.bob.account_id,
                blind=Impression(impression, "low"),
            )
    with world.sessions() as session:
        found = review.first_read(session, case)
    assert found is not None
    assert found.impression == "nv"


def test_another_reader_reads_blind_for_themselves(world: World) -> None:
    case = waiting(world)
    for reader, impression in ((world.bob, "nv"), (world.dan, "mel")):
        with world.sessions() as session, session.begin():
            blind = Impression(impression, "low")
            review.record_first_read(session, case, reader_id=reader.account_id, blind=blind)
    with world.sessions() as session:
        found = review.first_read(session, case)
    assert found is not None
    assert (found.reader_id, found.impression) == (world.dan.account_id, "mel")


def sign(world: World, case: str, reader: Person) -> bool:
    """Sign with the texts of the history: what they say does not matter here."""
    with world.sessions() as session, session.begin():
        row = submissions.find(session, case)
        assert row is not None
        (text,) = sealed_objects.of_submission(session, case, ["history"])  # type: ignore[list-item]
        decision = Decision(
            diagnosis="nv",
            icd10cm="D22.5",
            confidence="high",
            image_quality="good",
            plan="benign_advice",
            agreement="agree",
            override_reason=None,
            finding=text,
            letter=text,
        )
        try:
            review.sign(session, row, reader_id=reader.account_id, decision=decision)
        except NotOwnerError:
            session.rollback()
            return False
    return True


def reports(world: World, case: str) -> int:
    query = select(func.count()).where(SignedReport.submission_id == case)
    with world.sessions() as session:
        return session.scalar(query) or 0


def test_the_holder_signs_once(world: World) -> None:
    case = waiting(world)
    claim(world, case, world.bob)

    assert sign(world, case, world.bob)
    assert not sign(world, case, world.bob)

    assert reports(world, case) == 1
    with world.sessions() as session:
        assert session.get_one(Submission, case).case_state == CaseState.SIGNED
        report = submissions.signed_report(session, case)
    assert report is not None
    assert (report.signer_id, report.version) == (world.bob.account_id, 1)


def test_without_the_claim_nobody_signs(world: World) -> None:
    case = waiting(world)
    assert not sign(world, case, world.bob)
    claim(world, case, world.bob)
    assert not sign(world, case, world.dan)
    claim_ran_out(world, case)
    assert not sign(world, case, world.bob)
    assert reports(world, case) == 0


def test_of_two_signatures_at_once_one_counts(world: World) -> None:
    case = waiting(world)
    claim(world, case, world.bob)
    answers = at_once(*[partial(sign, world, case, world.bob)] * 4)
    assert sorted(answers) == [False, False, False, True]
    assert reports(world, case) == 1


def test_a_signed_case_can_be_neither_released_nor_sent_back(world: World) -> None:
    case = waiting(world)
    claim(world, case, world.bob)
    sign(world, case, world.bob)
    reader = world.bob.account_id
    with world.sessions() as session, session.begin():
        assert not review.release(session, case, reader_id=reader)
        assert not review.request_retake(session, case, reader_id=reader, reason="Blurred.")
    assert not claim(world, case, world.bob)


def test_the_holder_asks_for_new_photos_and_others_cannot(world: World) -> None:
    case = waiting(world)
    claim(world, case, world.bob)
    for reader, done in ((world.dan, False), (world.bob, True), (world.bob, False)):
        with world.sessions() as session, session.begin():
            asked = review.request_retake(
                session, case, reader_id=reader.account_id, reason="It is blurred."
            )
        assert asked is done
    with world.sessions() as session:
        row = session.get_one(Submission, case)
    assert (row.case_state, row.retake_reason) == (CaseState.UNREADABLE, "It is blurred.")
    assert (row.claimed_by, row.claim_until) == (world.bob.account_id, None)
