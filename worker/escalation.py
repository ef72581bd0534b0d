"""Tells named people of each clinic that a promise comes near its limit, or has passed it.

Each step is written once, in one transaction with the audit entry and the notices. Notices hold no
health data; a person gets one of a kind in an hour at most, and each step is followed by one.
"""

from dataclasses import dataclass

from sqlalchemy.orm import Session

from clinic.audit_event import AuditAction
from clinic.escalation import Level, Limit, limits, next_look, steps_to_tell
from clinic.notices import NoticeKind
from clinic.records import escalations, notices, service_clock
from clinic.records.audit_log import Auditor
from clinic.records.db import SessionFactory, database_now
from clinic.records.models import Submission

ACTOR = "reconciler"
AT_ONCE = 200
NOTICE_OF = {Level.WARNING: NoticeKind.CASES_NEARLY_DUE, Level.BREACH: NoticeKind.CASES_OVERDUE}


@dataclass(frozen=True)
class Escalator:
    sessions: SessionFactory
    auditor: Auditor

    def escalate(self) -> int:
        """Look at the cases whose time has come; return how many steps were told."""
        told = 0
        with self.sessions() as session, session.begin():
            rows = escalations.to_look_at(session, limit=AT_ONCE)
            for row in rows:
                service_clock.start_cancer_clock(row)
            times = {
                clinic_id: service_clock.service_times(session, clinic_id)
                for clinic_id in {row.clinic_id for row in rows}
            }
            known = escalations.steps_told(session, [row.id for row in rows])
            dates, now = escalations.dates_of(session, rows), database_now(session)
            for row in rows:
                running = limits(dates[row.id], times[row.clinic_id])
                for limit, level in steps_to_tell(running, known[row.id], now):
                    self._tell(session, row, limit, level)
                    told += 1
                row.escalate_at = next_look(dates[row.id], running, now)
        return told

    def _tell(self, session: Session, row: Submission, limit: Limit, level: Level) -> None:
        people = service_clock.contacts(session, row.clinic_id)
        escalations.add(session, row, limit, level, told=[one.id for one in people])
        for account in people:
            notices.tell_hourly(session, account, NOTICE_OF[level])
        self.auditor.record(
            session,
            AuditAction.CASE_ESCALATED,
            ACTOR,
            clinic_id=row.clinic_id,
            patient_id=row.patient_id,
            submission_id=row.id,
            detail=f"{limit.promise}, {level}: {len(people)} people told",
        )
