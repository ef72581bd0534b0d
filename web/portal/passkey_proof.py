"""Passkeys as a proof: a challenge for this browser, its answer, and whose passkey answered."""

from typing import Any

from flask import abort, session
from sqlalchemy.orm import Session

from clinic.records import passkeys
from clinic.records.models import Account, Passkey
from web.database import db
from web.relying_party import Claim, NewCredential, PasskeyRefusedError, RelyingParty
from web.services import services

_CHALLENGE = "passkey_challenge"  # in the browser's signed cookie: the id of the challenge's row


def relying_party() -> RelyingParty:
    """The site for passkeys; 404 where its address can have none."""
    found = services().relying_party
    if found is None:
        abort(404, "Passkeys need an address with a name. This site is opened by its number.")
    return found


def ask_for_passkey(account: Account | None) -> dict[str, Any]:
    """The options for `navigator.credentials.get`: any passkey, or one of this account's."""
    own = passkeys.of_account(db.session(), account.id) if account else []
    challenge = _new_challenge(account)
    return relying_party().request_options(
        challenge=challenge, allowed=[one.credential_id for one in own]
    )


def ask_for_new_passkey(account: Account, email: str) -> dict[str, Any]:
    """The options for `navigator.credentials.create`."""
    known = [one.credential_id for one in passkeys.of_account(db.session(), account.id)]
    return relying_party().creation_options(
        account_id=account.id, email=email, challenge=_new_challenge(account), known=known
    )


def _new_challenge(account: Account | None) -> bytes:
    made = passkeys.new_challenge(db.session(), account.id if account else None)
    session[_CHALLENGE] = made.id
    db.session.commit()
    return made.challenge


def _spend_challenge(account: Account | None) -> bytes | None:
    """The challenge that this browser was sent; gone after this, whatever the answer is worth."""
    account_id = account.id if account else None
    spent = passkeys.spend_challenge(db.session(), session.pop(_CHALLENGE, ""), account_id)
    db.session.commit()
    return spent


def proved_account(answer: str) -> Account | None:
    """Whose passkey answered this browser's challenge, where nobody had said who they are."""
    passkey = _answered(answer, _spend_challenge(None))
    return db.session.get_one(Account, passkey.account_id) if passkey else None


def proves(account: Account, answer: str) -> bool:
    """Whether a passkey of this account answered this browser's challenge."""
    passkey = _answered(answer, _spend_challenge(account))
    return passkey is not None and passkey.account_id == account.id


def new_credential(account: Account, answer: str) -> NewCredential | None:
    """The credential that was made for this browser's challenge."""
    challenge = _spend_challenge(account)
    if challenge is None:
        return None
    try:
        return relying_party().new_credential(answer, challenge=challenge)
    except PasskeyRefusedError:
        return None


def _answered(answer: str, challenge: bytes | None) -> Passkey | None:
    """The passkey behind an answer that holds; its use is stored."""
    if challenge is None:
        return None
    try:
        claim = Claim.of(answer)
        passkey = passkeys.by_credential(db.session(), claim.credential_id)
        if passkey is None or not claim.is_of(passkey.account_id):
            return None
        count = relying_party().sign_count(
            answer,
            challenge=challenge,
            public_key=passkey.public_key,
            sign_count=passkey.sign_count,
        )
    except PasskeyRefusedError:
        return None
    return passkey if _stored(db.session(), passkey, count) else None


def _stored(records: Session, passkey: Passkey, count: int) -> bool:
    moved = passkeys.note_use(records, passkey, sign_count=count)
    records.commit()
    return moved
