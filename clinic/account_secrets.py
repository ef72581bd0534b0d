"""What protects an account's fields: the blind index of its address, and sealing."""

import hashlib
import hmac
import os
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF


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
