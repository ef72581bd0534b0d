"""Invitations into a clinic's staff: a one-time token, hashed, good for a day."""

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from clinic.access import Role
from clinic.one_time_link import INVITATION_LIFE, digest, new_token
from clinic.records.db import database_now
from clinic.records.models import Invitation


def invite(session: Session, *, clinic_id: str, role: Role) -> str:
    """Return the token; whoever brings it becomes `role` of this clinic."""
    now, token = database_now(session), new_token()
    session.add(
        Invitation(
            token_hash=digest(token),
            clinic_id=clinic_id,
            role=role,
            created_at=now,
            expires_at=now + INVITATION_LIFE,
        )
    )
    session.flush()
    return token


def find(session: Session, token: str) -> Invitation | None:
    """The invitation of a token, if it can still be used."""
    found = session.scalar(select(Invitation).where(Invitation.token_hash == digest(token)))
    if found is None or found.used_at is not None:
        return None
    return found if found.expires_at > database_now(session) else None


def spend(session: Session, invitation: Invitation) -> bool:
    """Use the invitation up; False where it was used, withdrawn or ran out meanwhile."""
    now = database_now(session)
    done = session.execute(
        update(Invitation)
        .where(Invitation.id == invitation.id)
        .where(Invitation.used_at.is_(None), Invitation.expires_at > now)
        .values(used_at=now)
        .execution_options(synchronize_session=False)
    )
    return bool(done.rowcount == 1)  # type: ignore[attr-defined]


def open_of_clinic(session: Session, clinic_id: str) -> list[Invitation]:
    """Those that nobody has used yet, newest first."""
    query = select(Invitation).where(
        Invitation.clinic_id == clinic_id,
        Invitation.used_at.is_(None),
        Invitation.expires_at > database_now(session),
    )
    return list(session.scalars(query.order_by(Invitation.created_at.desc())))


def withdraw(session: Session, *, clinic_id: str, invitation_id: str) -> bool:
    """End an open invitation of this clinic; False where there is none."""
    found = session.get(Invitation, invitation_id)
    if found is None or found.clinic_id != clinic_id or found.used_at is not None:
        return False
    session.delete(found)
    return True
