"""The reconciler's program."""

from datetime import timedelta

from clinic.records.audit_log import Auditor
from config import Settings
from worker.programs.parts import secret, sessions_of, stop_on_signal
from worker.reconciler import Reconciler


def run(settings: Settings) -> None:
    patience = timedelta(minutes=settings.ai_wait_minutes)
    auditor = Auditor(secret(settings.audit_key))
    Reconciler(sessions_of(settings), auditor, patience).run(stop_on_signal())
