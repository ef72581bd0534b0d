"""The outbox of notices: rows that wait for a mail to be sent, whoever sends it and when."""

from datetime import datetime, timedelta

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from clinic.account_secrets import AccountSecrets
from clinic.notices import NoticeKind
from clinic.records.db import database_now, new_id
from clinic.records.models import Account, Notice

FIRST_PAUSE = timedelta(minutes=1)
LONGEST_PAUSE = timedelta(hours=6)
MOST_ATTEMPTS = 12
HOUR = timedelta(hours=1)
_ADDRESS = "notice address"


def tell(session: Session, account: Account, kind: NoticeKind) -> None:
    """Leave a notice for the account's own address, in the caller's transaction."""
    _add(session, new_id(), kind, account_id=account.id)


def tell_hourly(session: Session, account: Account, kind: NoticeKind) -> None:
    """The same, but one mail of this kind in an hour at most; one that still waits is enough."""
    newest = session.scalar(
        select(Notice)
        .where(Notice.account_id == account.id, Notice.kind == kind)
        .order_by(Notice.not_before.desc())
        .limit(1)
    )
    if newest is not None and newest.sent_at is None and newest.attempts == 0:
        return
    earliest = newest.created_at + HOUR if newest is not None else None
    _add(session, new_id(), kind, account_id=account.id, earliest=earliest)


def write_to(
    session: Session,
    box: AccountSecrets,
    address: str,
    kind: NoticeKind,
    *,
    account: Account | None = None,
) -> None:
    """Leave a notice for an address that is not, or not known to be, the account's own."""
    notice_id = new_id()
    sealed = box.seal(address, account_id=notice_id, column=_ADDRESS)
    _add(session, notice_id, kind, account_id=account.id if account else None, sealed=sealed)


def _add(
    session: Session,
    notice_id: str,
    kind: NoticeKind,
    *,
    account_id: str | None,
    sealed: bytes | None = None,
    earliest: datetime | None = None,
) -> None:
    now = database_now(session)
    session.add(
        Notice(
            id=notice_id,
            kind=kind,
            account_id=account_id,
            address_sealed=sealed,
            created_at=now,
            not_before=max(now, earliest or now),
        )
    )
    session.flush()


def address_of(session: Session, box: AccountSecrets, notice: Notice) -> str:
    """Where the notice goes."""
    if notice.address_sealed is not None:
        return box.unseal(notice.address_sealed, account_id=notice.id, column=_ADDRESS)
    account = session.get_one(Account, notice.account_id)
    return box.unseal(account.email_sealed, account_id=account.id, column="email")


def claim_due(session: Session) -> Notice | None:
    """The next notice whose time has come, with its next try already set.

    A sender that dies after this leaves the notice to that next try: a mail may come twice, but
    none is lost. The caller commits before it sends.
    """
    now = database_now(session)
    due = select(Notice).where(
        Notice.sent_at.is_(None), Notice.not_before <= now, Notice.attempts < MOST_ATTEMPTS
    )
    notice = session.scalar(
        due.order_by(Notice.not_before).limit(1).with_for_update(skip_locked=True)
    )
    if notice is not None:
        notice.attempts += 1
        notice.not_before = now + pause_after(notice.attempts)
    return notice


def pause_after(attempts: int) -> timedelta:
    """How long to wait after so many tries: a minute, then always twice as long, up to 6 hours."""
    doubled: timedelta = FIRST_PAUSE * 2 ** (attempts - 1)
    return min(doubled, LONGEST_PAUSE)


def mark_sent(session: Session, notice_id: str) -> None:
    _set(session, notice_id, sent_at=database_now(session), last_error=None)


def mark_failed(session: Session, notice_id: str, reason: str) -> None:
    _set(session, notice_id, last_error=reason[:200])


def _set(session: Session, notice_id: str, **values: datetime | str | None) -> None:
    session.execute(
        update(Notice)
        .where(Notice.id == notice_id)
        .values(values)
        .execution_options(synchronize_session=False)
    )
