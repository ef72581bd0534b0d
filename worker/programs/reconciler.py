"""The reconciler's program."""

import threading
from datetime import timedelta

from clinic.audit_anchor import AnchorFile
from clinic.installation_key import InstallationKey
from clinic.records.audit_log import Auditor
from config import Settings, needed
from worker.audit_anchoring import AuditAnchoring
from worker.audit_walk import AuditWalker
from worker.programs.parts import secret, sessions_of, stop_on_signal
from worker.reconciler import Reconciler


def run(settings: Settings) -> None:
    patience = timedelta(minutes=settings.ai_wait_minutes)
    sessions, auditor = sessions_of(settings), Auditor(secret(settings.audit_key))
    anchors = AnchorFile(needed(settings.audit_anchors))
    anchoring = AuditAnchoring(
        sessions, anchors, InstallationKey(secret(settings.installation_key))
    )
    walker = AuditWalker(sessions, auditor.key, outside=anchoring.problem)
    stopped = stop_on_signal()
    for name, run_on in (("audit", walker.run), ("anchors", anchoring.run)):
        threading.Thread(target=run_on, args=(stopped,), name=name, daemon=True).start()
    Reconciler(sessions, auditor, patience).run(stopped)
