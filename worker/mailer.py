"""The mailer: sends the notices that wait, and makes the links that some of them carry.

Who has an account behind an address is found out here and not in the portal, so that nobody can
read it off the portal's answers or their time. A link's token exists in the mail alone.
"""

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from sqlalchemy.orm import Session

from clinic.account_secrets import AccountSecrets
from clinic.notices import Channel, DeliveryError, Message, NoticeKind, message
from clinic.one_time_link import LinkPurpose
from clinic.records import accounts, notices, one_time_links
from clinic.records.db import DATABASE_AWAY, SessionFactory
from clinic.records.models import Account, Clinic, Notice

PERIOD_SECONDS = 2.0
NO_CLINIC_YET = "DermQueue"  # who registers chooses a clinic later; that mail names no phone

# Which link a notice carries, and the page that it opens.
_LINKS = {
    NoticeKind.PASSWORD_RESET: (LinkPurpose.PASSWORD_RESET, "password/new"),
    NoticeKind.EMAIL_CHANGE: (LinkPurpose.EMAIL_CHANGE, "account/email"),
    NoticeKind.REGISTRATION: (LinkPurpose.REGISTRATION, "register"),
}


@dataclass(frozen=True)
class _Mail:
    notice_id: str
    address: str
    message: Message | None  # None: nobody is to be written to


@dataclass(frozen=True)
class Mailer:
    sessions: SessionFactory
    box: AccountSecrets
    channel: Channel
    public_url: str

    def send_due(self) -> int:
        """Send every notice whose time has come; return how many left."""
        sent = 0
        while (mail := self._claim()) is not None:
            sent += self._send(mail)
        return sent

    def _claim(self) -> _Mail | None:
        """The next mail. Its links are stored before it leaves, so that none of them is dead."""
        with self.sessions() as session, session.begin():
            notice = notices.claim_due(session)
            return None if notice is None else self._written(session, notice)

    def _written(self, session: Session, notice: Notice) -> _Mail:
        address = notices.address_of(session, self.box, notice)
        holder = accounts.account_by_email(session, self.box, address)
        kind = _kind_to_send(NoticeKind(notice.kind), holder)
        if kind is None:
            return _Mail(notice.id, address, None)
        account = session.get(Account, notice.account_id) if notice.account_id else holder
        clinic = session.get(Clinic, account.clinic_id) if account else None
        name, phone = (clinic.name, clinic.phone) if clinic else (NO_CLINIC_YET, "")
        link = self._link(session, kind, address, account)
        words = message(kind, clinic_name=name, phone=phone, link=link)
        return _Mail(notice.id, address, words)

    def _link(
        self, session: Session, kind: NoticeKind, address: str, account: Account | None
    ) -> str | None:
        if kind not in _LINKS:
            return None
        purpose, page = _LINKS[kind]
        proves = None if purpose is LinkPurpose.PASSWORD_RESET else address
        account_id = account.id if account else None
        token = one_time_links.make(session, self.box, purpose, account_id=account_id, email=proves)
        return f"{self.public_url}/{page}/{token}"

    def _send(self, mail: _Mail) -> bool:
        """Outside any transaction: a slow mail server must not hold the database."""
        reason = None
        if mail.message is not None:
            try:
                self.channel.deliver(mail.address, mail.message)
            except DeliveryError as error:
                reason = str(error)
        with self.sessions() as session, session.begin():
            if reason is None:
                notices.mark_sent(session, mail.notice_id)
            else:
                notices.mark_failed(session, mail.notice_id, reason)
        return reason is None and mail.message is not None

    def run(self, stopped: Callable[[], bool]) -> None:
        """Loop until `stopped`. A database that is away is waited for."""
        while not stopped():
            with suppress(*DATABASE_AWAY):
                self.send_due()
            time.sleep(PERIOD_SECONDS)


def _kind_to_send(kind: NoticeKind, holder: Account | None) -> NoticeKind | None:
    """What the owner of an address is told, by whether an account has it; None for nothing."""
    if kind is NoticeKind.PASSWORD_RESET:
        return kind if holder is not None and holder.disabled_at is None else None
    taken = kind in {NoticeKind.REGISTRATION, NoticeKind.EMAIL_CHANGE} and holder is not None
    return NoticeKind.ADDRESS_TAKEN if taken else kind
