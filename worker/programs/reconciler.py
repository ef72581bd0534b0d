"""The reconciler's program."""

import threading
from datetime import timedelta

from clinic.records.audit_log import Auditor
from config import Settings
from worker.audit_walk import AuditWalker
from worker.programs.parts import secret, sessions_of, stop_on_signal
from worker.reconciler import Reconciler


def run(settings: Settings) -> None:
    patience = timedelta(minutes=settings.ai_wait_minutes)
    sessions, auditor = sessions_of(settings), Auditor(secret(settings.audit_key))
    stopped = stop_on_signal()
    walker = AuditWalker(sessions, auditor.key)
    threading.Thread(target=walker.run, args=(stopped,), name="audit", daemon=True).start()
    Reconciler(sessions, auditor, patience).run(stopped)
