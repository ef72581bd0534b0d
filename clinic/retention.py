"""How long what is kept, and who decides on an erasure: the one table of periods and the policy.

worker/retention.py applies the periods.

A period is counted from the moment named beside it. Whatever is not in the table is kept for good:
the audit chain above all.
"""

from datetime import datetime, timedelta
from enum import StrEnum

from clinic.due_time import years_after

# The keeper caps a person's requests by the hour: those of the last hour must still be there.
KEY_REQUESTS = timedelta(hours=2)  # from the request
SIGN_IN_LINKS = timedelta(0)  # from the end of the link's life
LOGIN_SESSIONS = timedelta(days=2)  # from the latest end of the session
PROCESS_KEYS = timedelta(days=30)  # of workers and exports, from the last sign of life
EPOCH_KEYS = timedelta(days=14)  # from the end of its period, once no object lists it any more
ORPHAN_BODIES = timedelta(hours=1)  # from the upload, which has a body and no row for a moment
# Backups: DERMQUEUE_BACKUP_KEEP_DAYS, from the backup; `flask backup` deletes the older ones.

# Nothing is erased by itself: how long a record of treatment must be kept is law and differs.
# From here on `flask patients due` lists the patient, and a person decides.
PATIENT_RECORDS_YEARS = 10  # from the last contact


# GDPR 12(3): an answer within one month, of which the shortest has 28 days.
ERASURE_ANSWERED_WITHIN = timedelta(days=28)


class ErasureState(StrEnum):
    """Where a patient's wish to be erased stands. What was granted is done, if need be later."""

    OPEN = "open"
    WITHDRAWN = "withdrawn"
    REFUSED = "refused"
    GRANTED = "granted"
    DONE = "done"


class ErasurePolicy(StrEnum):
    """Whether the law of the installation's country lets a wish be carried out unasked."""

    AT_ONCE = "at_once"
    DECIDED = "decided"


class ErasureRefusal(StrEnum):
    """Why a record must stay: GDPR 17(3)(b), (c) and (e), or 12(6)."""

    MEDICAL_RECORDS_LAW = "medical_records_law"
    PUBLIC_HEALTH = "public_health"
    LEGAL_CLAIM = "legal_claim"
    IDENTITY_NOT_PROVED = "identity_not_proved"

    @property
    def sentence(self) -> str:
        """What the patient is told."""
        return _REFUSAL_SENTENCES[self]


_REFUSAL_SENTENCES = {
    ErasureRefusal.MEDICAL_RECORDS_LAW: "The law says how long we must keep a medical record.",
    ErasureRefusal.PUBLIC_HEALTH: "The law asks us to keep it to protect the health of all.",
    ErasureRefusal.LEGAL_CLAIM: "It is needed for a legal claim.",
    ErasureRefusal.IDENTITY_NOT_PROVED: "We could not be sure that it was you who asked.",
}


def may_erase_at_once(policy: ErasurePolicy, *, cases: int) -> bool:
    """Whether nobody needs to decide: no law keeps a record of somebody who never sent anything."""
    return policy is ErasurePolicy.AT_ONCE or cases == 0


def kept_until(last_contact: datetime) -> datetime:
    """Until when a record of treatment stays at least, where the law has that period."""
    return years_after(last_contact, PATIENT_RECORDS_YEARS)
