"""What protects an account: the blind index of its address, its sealed fields, its password."""

import hashlib
import hmac
import os
import secrets
from dataclasses import dataclass, field

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerifyMismatchError
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

MIN_PASSWORD_LENGTH = 8
_COMMON = frozenset(
    {
        *("password", "password1", "password12", "password123", "passw0rd123", "letmein123"),
        *("1234567890", "0123456789", "qwertyuiop", "qwerty12345", "1q2w3e4r5t", "abcdefghij"),
        *("iloveyou123", "welcome123", "sunshine123", "football123", "administrator"),
        *("dermqueue1", "dermqueue123", "dermatology", "teledermatology"),
    }
)


class AccountSecretError(Exception):
    """A sealed account field was changed or belongs to another account."""


@dataclass(frozen=True)
class AccountSecrets:
    """Derives one key for each use from the installation's account key (HKDF, RFC 5869)."""

    key: bytes = field(repr=False)

    def email_index(self, email: str) -> str:
        """A blind index: HMAC-SHA256 over the normalised address, hex."""
        normal = email.strip().casefold().encode()
        return hmac.new(self._derive("email index"), normal, hashlib.sha256).hexdigest()

    def seal(self, text: str, *, account_id: str, column: str) -> bytes:
        nonce = os.urandom(12)
        bound = f"account|{column}|{account_id}".encode()
        box = AESGCM(self._derive("account fields"))
        return b"\x01" + nonce + box.encrypt(nonce, text.encode(), bound)

    def unseal(self, sealed: bytes, *, account_id: str, column: str) -> str:
        bound = f"account|{column}|{account_id}".encode()
        box = AESGCM(self._derive("account fields"))
        try:
            return box.decrypt(sealed[1:13], sealed[13:], bound).decode()
        except InvalidTag as error:
            raise AccountSecretError(f"The sealed {column} does not open.") from error

    def pseudonym(self, identifier: str, *, clinic_id: str) -> str:
        """What stands for an id outside the clinic: HMAC-SHA256 under a key of its own, 32 hex.

        The same each time, so that a case keeps its name from one export to the next: copies can be
        joined without counting it twice, and found again to be taken out. Another clinic's key is
        another, and without the account key nobody can lead a name back to an id.
        """
        key = self._derive(f"pseudonyms of {clinic_id}")
        return hmac.new(key, identifier.encode(), hashlib.sha256).hexdigest()[:32]

    def _derive(self, use: str) -> bytes:
        return HKDF(SHA256(), 32, None, f"dermqueue {use}".encode()).derive(self.key)


@dataclass(frozen=True)
class Passwords:
    """argon2id (RFC 9106). An unknown account costs as long as a wrong password."""

    hasher: PasswordHasher
    decoy: str

    @classmethod
    def standard(cls) -> "Passwords":
        return cls.using(PasswordHasher())

    @classmethod
    def using(cls, hasher: PasswordHasher) -> "Passwords":
        return cls(hasher, hasher.hash(secrets.token_hex(16)))

    def hash(self, password: str) -> str:
        return self.hasher.hash(password)

    def matches(self, stored: str | None, password: str) -> bool:
        try:
            self.hasher.verify(stored or self.decoy, password)
        except (VerifyMismatchError, InvalidHashError):
            return False
        return stored is not None


def password_problem(password: str) -> str | None:
    """Why a password is refused, in words, or None (NIST SP 800-63B: length, no composition)."""
    if len(password) < MIN_PASSWORD_LENGTH:
        return f"Use at least {MIN_PASSWORD_LENGTH} characters. A short sentence works well."
    if password.casefold() in _COMMON or len(set(password)) < 4:
        return "This password is too easy to guess. Use a short sentence."
    return None
