"""Cases that wait for a reader, and readers who take them: what tests of the queue share."""

from datetime import datetime, timedelta

from sqlalchemy import update

from clinic.records import review_queue
from clinic.records.db import database_now
from clinic.records.models import Submission
from clinic.submission import CaseState
from tests.world import Person, World


def waiting(world: World, **values: object) -> str:
    """A case that waits for a reader."""
    case = world.submit(world.alice)
    changed = {"case_state": CaseState.AWAITING_REVIEW, "urgency": 2, **values}
    with world.sessions() as session, session.begin():
        session.execute(update(Submission).where(Submission.id == case).values(**changed))
    return case


def now(world: World) -> datetime:
    with world.sessions() as session:
        return database_now(session)


def claim(world: World, case: str, reader: Person) -> bool:
    with world.sessions() as session, session.begin():
        return review_queue.claim(session, case, reader_id=reader.account_id)


def claim_next(world: World, reader: Person) -> str | None:
    with world.sessions() as session, session.begin():
        found = review_queue.claim_next(
            session, clinic_id=reader.clinic_id, reader_id=reader.account_id
        )
        return found.id if found else None


def claim_ran_out(world: World, case: str) -> None:
    with world.sessions() as session, session.begin():
        past = database_now(session) - timedelta(seconds=1)
        session.execute(update(Submission).where(Submission.id == case).values(claim_until=past))
