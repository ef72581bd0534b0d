"""How many photos a patient has sent of late: one account must not fill the store."""

from datetime import timedelta

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from clinic.keeper_protocol import ObjectKind
from clinic.records.db import database_now
from clinic.records.models import Patient, SealedObject

PHOTOS_PER_DAY = 100
DAY = timedelta(days=1)


def photos_left(session: Session, patient_id: str) -> int:
    """How many photos this patient may still send now; those of the last 24 hours count.

    The patient's row stays locked until the transaction ends, so that two uploads at the same
    moment cannot both take the last place. The lock lets others refer to the row: a worker that
    claims a case of this patient would else wait for an upload of the same form, and that for it.
    """
    row = select(Patient.id).where(Patient.id == patient_id)
    session.execute(row.with_for_update(key_share=True))
    sent = (
        select(func.count())
        .select_from(SealedObject)
        .where(SealedObject.patient_id == patient_id, SealedObject.kind == ObjectKind.PHOTO)
        .where(SealedObject.created_at > database_now(session) - DAY)
    )
    return PHOTOS_PER_DAY - (session.scalar(sent) or 0)
