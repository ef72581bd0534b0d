"""One-time codes (RFC 6238) without a window: the code of this very step, each step once only."""

import time

import pyotp
from sqlalchemy.orm import Session

from clinic.account_secrets import AccountSecrets
from clinic.records import accounts
from clinic.records.models import Account

TOTP_STEP_SECONDS = 30


def code_is_right(session: Session, box: AccountSecrets, account: Account, code: str) -> bool:
    """Check a code against the account's secret, and spend it. The caller commits."""
    if account.totp_secret_sealed is None:
        return False
    secret = box.unseal(account.totp_secret_sealed, account_id=account.id, column="totp_secret")
    return spend_code(session, account, secret, code)


def spend_code(session: Session, account: Account, secret: str, code: str) -> bool:
    """As code_is_right, with a secret that the account may not have yet."""
    step = int(time.time()) // TOTP_STEP_SECONDS
    expected = pyotp.TOTP(secret).at(step * TOTP_STEP_SECONDS)
    if not pyotp.utils.strings_equal(expected, code):
        return False
    return accounts.accept_totp_step(session, account, step)
