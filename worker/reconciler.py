"""The reconciler: frees what was left, hands on what nobody analysed, escalates what runs late."""

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy.orm import Session

from clinic.audit_event import AuditAction
from clinic.records import review_queue, screening_queue, submissions
from clinic.records.audit_log import Auditor
from clinic.records.db import DATABASE_AWAY, SessionFactory
from clinic.records.models import Submission
from worker.escalation import Escalator

ACTOR = "reconciler"
PERIOD_SECONDS = 1.0


@dataclass(frozen=True)
class Reconciler:
    sessions: SessionFactory
    auditor: Auditor
    patience: timedelta  # how long a case waits for a worker before people read it without

    def reconcile(self) -> int:
        """One round; return how many cases were moved."""
        with self.sessions() as session, session.begin():
            dead, again = screening_queue.expire_leases(session)
            waited = screening_queue.give_up_waiting(session, waited=self.patience)
            left = review_queue.expire_claims(session)
            for submission_id in dead + waited:
                self._record_failure(session, submission_id, AuditAction.SCREENING_GIVEN_UP)
            for submission_id in again:
                self._record_failure(session, submission_id, AuditAction.SCREENING_FAILED)
            for row in left:
                self._record(session, row, AuditAction.CASE_RELEASED, "the claim ran out")
        return len(dead) + len(again) + len(waited) + len(left)

    def _record_failure(self, session: Session, submission_id: str, action: AuditAction) -> None:
        row = submissions.find(session, submission_id)
        if row is not None:
            detail = row.last_failure or "the worker's lease ran out"
            self._record(session, row, action, detail)

    def _record(self, session: Session, row: Submission, action: AuditAction, detail: str) -> None:
        self.auditor.record(
            session,
            action,
            ACTOR,
            clinic_id=row.clinic_id,
            patient_id=row.patient_id,
            submission_id=row.id,
            detail=detail,
        )

    def run(self, stopped: Callable[[], bool]) -> None:
        """Loop until `stopped`. A database that is away is waited for."""
        escalator = Escalator(self.sessions, self.auditor)
        while not stopped():
            with suppress(*DATABASE_AWAY):
                self.reconcile()
                escalator.escalate()
            time.sleep(PERIOD_SECONDS)
