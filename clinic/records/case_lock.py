"""One case at a time: whoever adds to a case waits for who does so already."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from clinic.records.models import Submission


def lock_case(session: Session, case_id: str) -> None:
    """Until the transaction ends nobody else takes a slot of this case, or asks for a second read.

    Rows that refer to the case can be added meanwhile.
    """
    query = select(Submission.id).where(Submission.id == case_id)
    session.scalar(query.with_for_update(key_share=True))
