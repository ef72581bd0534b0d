"""Carrying out an erasure that was granted, from a request of the portal."""

from clinic.erasure_ledger import LedgerError
from clinic.records.blobs import BlobStoreAwayError
from web.guard import me
from web.services import services


def erase_now(patient_id: str) -> bool:
    """Whether the patient is erased; if not, the request stays granted and can be done again."""
    try:
        services().eraser.erase(patient_id, actor=me().actor.user_id)
    except LedgerError:
        return False
    except (BlobStoreAwayError, OSError):
        return True  # the rows and keys are gone; retention sweeps the bodies, which open no more
    return True
