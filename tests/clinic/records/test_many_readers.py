"""Many readers at one queue at once, on PostgreSQL: no case goes to two, and none is lost."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

import pytest
from sqlalchemy import create_engine, func, insert, select

from clinic.access import Role
from clinic.hand_over import HandOverReason
from clinic.records import review_queue
from clinic.records.db import every_clinic_sessions
from clinic.records.models import Submission
from clinic.submission import CaseState, ScreeningState
from tests.portal_tools import row_of
from tests.waiting_cases import now, waiting
from tests.world import Person, World

on_postgresql = pytest.mark.parametrize(
    "database_url", [pytest.param("postgresql", marks=pytest.mark.postgres)], indirect=True
)
PASSED_ON_EACH = 7  # every so many cases a reader gives one back to the pool


def fill(world: World, count: int) -> set[str]:
    """So many cases of all urgencies and due times."""
    model = row_of(world, waiting(world))
    values = {column.name: getattr(model, column.name) for column in Submission.__table__.columns}
    due: datetime = now(world)
    rows = [
        values
        | {
            "id": f"{number:032x}",
            "urgency": number % 3,
            "due_at": due + timedelta(minutes=number * 7919 % 10_000),
            "screening_state": ScreeningState.DONE,
        }
        for number in range(count - 1)
    ]
    with world.sessions() as session, session.begin():
        session.execute(insert(Submission), rows)
    return {model.id, *(str(row["id"]) for row in rows)}


def read_all(world: World, reader: Person) -> list[str]:
    """Take the next case until there is none; now and then give one to the pool instead."""
    kept: list[str] = []
    asked = 0
    while True:
        asked += 1
        with world.sessions() as session, session.begin():
            row = review_queue.claim_next(
                session, clinic_id=reader.clinic_id, reader_id=reader.account_id
            )
            if row is None and not free_left(session):
                return kept
            if row is None:
                continue  # what is left was locked by others for a moment
            if asked % PASSED_ON_EACH == 0:
                given = review_queue.hand_over(
                    session,
                    row,
                    reader_id=reader.account_id,
                    to_id=None,
                    reason=HandOverReason.MISTAKE,
                )
                assert given
                continue
        kept.append(row.id)


def free_left(session: object) -> int:
    query = select(func.count()).where(
        Submission.case_state == CaseState.AWAITING_REVIEW, Submission.claimed_by.is_(None)
    )
    return session.scalar(query) or 0  # type: ignore[attr-defined,no-any-return]


def race(world: World, database_url: str, *, readers: int, cases: int) -> None:
    expected = fill(world, cases)
    people = [world.add_person(f"reader-{number}", Role.DERMATOLOGIST) for number in range(readers)]
    engine = create_engine(database_url, pool_size=readers, max_overflow=0)
    world.sessions = every_clinic_sessions(engine)

    with ThreadPoolExecutor(readers) as pool:
        kept = list(pool.map(lambda reader: read_all(world, reader), people))

    holders = Counter(case for mine in kept for case in mine)
    assert [case for case, count in holders.items() if count > 1] == [], "held twice"
    assert set(holders) == expected, "lost"
    with world.sessions() as session:
        query = select(Submission.id, Submission.claimed_by).where(Submission.id.in_(expected))
        stored = dict(session.execute(query).all())
    assert stored == {
        case: reader.account_id for reader, mine in zip(people, kept, strict=True) for case in mine
    }
    engine.dispose()


@on_postgresql
def test_ten_readers_share_two_hundred_cases(world: World, database_url: str) -> None:
    race(world, database_url, readers=10, cases=200)


@on_postgresql
@pytest.mark.slow
def test_fifty_readers_share_five_thousand_cases(world: World, database_url: str) -> None:
    race(world, database_url, readers=50, cases=5000)
