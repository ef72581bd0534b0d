"""Accounts, patients and signed-in browsers."""

import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from clinic.access import STAFF, Actor, Role
from clinic.account_secrets import AccountSecrets
from clinic.one_time_link import DEMO_LINK_LIFE, digest, new_token
from clinic.records.db import database_now, new_id
from clinic.records.models import (
    Account,
    LoginSession,
    Passkey,
    Patient,
    SignInLink,
)

ABSOLUTE_LIFE = timedelta(hours=12)
IDLE_LIFE = {
    Role.PATIENT: timedelta(minutes=30),
    Role.DERMATOLOGIST: timedelta(minutes=15),
    Role.ADMINISTRATOR: timedelta(minutes=15),
    Role.AUDITOR: timedelta(minutes=15),
}
SEEN_EVERY = timedelta(seconds=30)


class EmailTakenError(Exception):
    """An account with this address exists."""


@dataclass(frozen=True)
class NewAccount:
    clinic_id: str
    role: Role
    email: str
    password_hash: str
    family_name: str | None = None
    given_name: str | None = None
    registration_number: str | None = None


def create_account(session: Session, box: AccountSecrets, new: NewAccount) -> Account:
    index = box.email_index(new.email)
    if session.scalar(select(Account.id).where(Account.email_index == index)) is not None:
        raise EmailTakenError
    account_id = new_id()
    account = Account(
        id=account_id,
        clinic_id=new.clinic_id,
        role=new.role,
        email_index=index,
        email_sealed=box.seal(new.email, account_id=account_id, column="email"),
        password_hash=new.password_hash,
        family_name=new.family_name,
        given_name=new.given_name,
        registration_number=new.registration_number,
        created_at=database_now(session),
    )
    session.add(account)
    session.flush()
    return account


def create_patient(session: Session, account: Account) -> Patient:
    number = "DQ-" + "".join(secrets.choice("23456789ABCDEFGHJKMNPQRSTVWXYZ") for _ in range(8))
    patient = Patient(
        id=new_id(),
        clinic_id=account.clinic_id,
        account_id=account.id,
        record_number=number,
        created_at=database_now(session),
    )
    session.add(patient)
    session.flush()
    return patient


def account_by_email(session: Session, box: AccountSecrets, email: str) -> Account | None:
    return session.scalar(select(Account).where(Account.email_index == box.email_index(email)))


def patient_of(session: Session, account_id: str) -> Patient | None:
    return session.scalar(select(Patient).where(Patient.account_id == account_id))


def has_second_factor(session: Session, account: Account) -> bool:
    """Whether a code app or a passkey was set up."""
    if account.totp_secret_sealed is not None:
        return True
    mine = select(Passkey.id).where(Passkey.account_id == account.id).limit(1)
    return session.scalar(mine) is not None


def start_login(
    session: Session, account: Account, *, second_factor: bool, device: str = "a browser"
) -> str:
    """Open a session and return its token, which only the browser keeps.

    `second_factor` says that it was proved already; `device` names the browser in coarse words.
    """
    now = database_now(session)
    token = new_token()
    due = account.role in STAFF or has_second_factor(session, account)
    session.add(
        LoginSession(
            token_hash=digest(token),
            account_id=account.id,
            created_at=now,
            last_seen_at=now,
            expires_at=now + ABSOLUTE_LIFE,
            device=device,
            second_factor_due=due,
            second_factor_at=now if second_factor else None,
            stepped_up_at=now if second_factor or not due else None,
        )
    )
    session.flush()
    return token


def live_login(session: Session, token: str) -> LoginSession | None:
    """The session of a cookie's token, if it is still alive; idle time starts anew.

    That is written once in SEEN_EVERY, so that not every page waits for a commit to reach the disk.
    """
    found = session.scalar(select(LoginSession).where(LoginSession.token_hash == digest(token)))
    now = database_now(session)
    if found is None or not is_alive(found, now):
        return None
    if now - found.last_seen_at >= SEEN_EVERY:
        found.last_seen_at = now
    return found


def is_alive(login: LoginSession, now: datetime) -> bool:
    idle = now - login.last_seen_at > IDLE_LIFE[Role(login.account.role)]
    closed = login.ended_at is not None or login.account.disabled_at is not None
    return not closed and not idle and now < login.expires_at


def is_signed_in(login: LoginSession, now: datetime) -> bool:
    """Alive, and with a second factor proved where one is due."""
    due = login.second_factor_due and login.second_factor_at is None
    return not due and is_alive(login, now)


def end_login(session: Session, login: LoginSession) -> None:
    login.ended_at = database_now(session)


def end_logins(session: Session, account_id: str, *, but: str | None = None) -> int:
    """End every session of the account, but for the one with this id; return how many."""
    done = session.execute(
        update(LoginSession)
        .where(LoginSession.account_id == account_id, LoginSession.ended_at.is_(None))
        .where(LoginSession.id != (but or ""))
        .values(ended_at=database_now(session))
    )
    return int(done.rowcount)  # type: ignore[attr-defined]


def set_email(session: Session, box: AccountSecrets, account: Account, email: str) -> None:
    """Move the account to another address.

    Raises:
        EmailTakenError: another account has it.

    """
    holder = account_by_email(session, box, email)
    if holder is not None and holder.id != account.id:
        raise EmailTakenError
    account.email_index = box.email_index(email)
    account.email_sealed = box.seal(email, account_id=account.id, column="email")
    session.flush()


def email_of(box: AccountSecrets, account: Account) -> str:
    return box.unseal(account.email_sealed, account_id=account.id, column="email")


def accept_totp_step(session: Session, account: Account, step: int) -> bool:
    """Spend a one-time code: each time step once only, in one conditional UPDATE (RFC 6238 5.2)."""
    done = session.execute(
        update(Account)
        .where(Account.id == account.id)
        .where((Account.totp_last_step.is_(None)) | (Account.totp_last_step < step))
        .values(totp_last_step=step)
    )
    return bool(done.rowcount == 1)  # type: ignore[attr-defined]


def make_sign_in_link(session: Session, account: Account) -> str:
    token = new_token()
    session.add(
        SignInLink(
            token_hash=digest(token),
            account_id=account.id,
            expires_at=database_now(session) + DEMO_LINK_LIFE,
        )
    )
    session.flush()
    return token


def find_sign_in_link(session: Session, token: str) -> SignInLink | None:
    """The link of a token, if it can still be used."""
    link = session.get(SignInLink, digest(token))
    if link is None or link.used_at is not None:
        return None
    return link if link.expires_at > database_now(session) else None


def use_sign_in_link(session: Session, token: str) -> Account | None:
    """The account of a one-time link, at its first use within its life; else None."""
    now = database_now(session)
    spent = session.execute(
        update(SignInLink)
        .where(SignInLink.token_hash == digest(token))
        .where(SignInLink.used_at.is_(None), SignInLink.expires_at > now)
        .values(used_at=now)
    )
    if spent.rowcount != 1:  # type: ignore[attr-defined]
        return None
    link = session.get(SignInLink, digest(token))
    return session.get(Account, link.account_id) if link else None


def actor_of(session: Session, login: LoginSession) -> Actor:
    """The person behind a session, as the policy sees them."""
    account = login.account
    role = Role(account.role)
    patient = patient_of(session, account.id) if role is Role.PATIENT else None
    return Actor(account.id, role, account.clinic_id, patient.id if patient else None)


def logins_of(session: Session, account_id: str) -> list[LoginSession]:
    """The account's sessions that are still open, newest first."""
    query = select(LoginSession).where(LoginSession.account_id == account_id)
    now = database_now(session)
    found = session.scalars(query.order_by(LoginSession.created_at.desc()))
    return [login for login in found if is_alive(login, now)]
