"""The relay: turns waiting rows into hints. Without it nothing is lost, work only waits."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from clinic.hints import SCREEN_SUBMISSION, SETTLE_PATIENT, BrokerDownError, Hints
from clinic.records import screening_queue
from clinic.records.db import DATABASE_AWAY, SessionFactory, database_now
from clinic.records.models import SealedObject, Submission
from clinic.submission import ScreeningState

PERIOD_SECONDS = 0.1
AWAY_PAUSE_SECONDS = 1.0
BATCH = 50
SETTLE_AFTER = timedelta(seconds=3)
SETTLE_EVERY_SECONDS = 5.0


@dataclass(frozen=True)
class Relay:
    sessions: SessionFactory
    hints: Hints

    def hint_screening(self) -> int:
        """Send a hint for each due row; the stamp follows the sends, so a lost one is repeated."""
        with self.sessions() as session, session.begin():
            waiting = screening_queue.waiting_for_hint(session, limit=BATCH)
        for submission_id in waiting:
            self.hints.send(SCREEN_SUBMISSION, submission_id)
        if waiting:
            with self.sessions() as session, session.begin():
                screening_queue.stamp_hints(session, waiting)
        return len(waiting)

    def hint_settling(self) -> int:
        """Ask the keeper to move finished objects under their patients' keys."""
        with self.sessions() as session, session.begin():
            patients = _patients_to_settle(session)
        for patient_id in patients:
            self.hints.send(SETTLE_PATIENT, patient_id)
        return len(patients)

    def run(self, stopped: Callable[[], bool]) -> None:
        """Loop until `stopped`. A broker or a database that is away costs only time."""
        settle_at = 0.0
        while not stopped():
            try:
                self.hint_screening()
                if time.monotonic() >= settle_at:
                    self.hint_settling()
                    settle_at = time.monotonic() + SETTLE_EVERY_SECONDS
            except (BrokerDownError, *DATABASE_AWAY):
                time.sleep(AWAY_PAUSE_SECONDS)
            time.sleep(PERIOD_SECONDS)


def _patients_to_settle(session: Session) -> list[str]:
    busy = [ScreeningState.QUEUED, ScreeningState.RUNNING]
    query = (
        select(SealedObject.patient_id)
        .outerjoin(Submission, Submission.id == SealedObject.submission_id)
        .where(SealedObject.settled.is_(False))
        .where(SealedObject.created_at < database_now(session) - SETTLE_AFTER)
        .where(Submission.id.is_(None) | Submission.screening_state.not_in(busy))
        .group_by(SealedObject.patient_id)
        # In no fixed order, so that patients whose objects cannot be opened starve nobody.
        .order_by(func.random())
        .limit(BATCH)
    )
    return list(session.scalars(query))
