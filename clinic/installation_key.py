"""The installation's own signature (Ed25519, RFC 8032): on what must hold outside of its database.

Whoever has the public key can check a certificate of erasure or an anchor of the audit chain
without any secret. Each use signs under a name of its own, so that no signature serves another.
"""

import base64
from dataclasses import dataclass, field
from typing import Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey


class WrongSignatureError(Exception):
    """The signature is not of this key over this message."""


@dataclass(frozen=True)
class InstallationKey:
    """`seed`: 32 random bytes, the private key."""

    seed: bytes = field(repr=False)

    @property
    def public(self) -> str:
        """The public key in base64."""
        return base64.b64encode(self._private.public_key().public_bytes_raw()).decode()

    def sign(self, use: str, message: bytes) -> str:
        """The signature in base64."""
        return base64.b64encode(self._private.sign(_bound(use, message))).decode()

    @property
    def _private(self) -> Ed25519PrivateKey:
        return Ed25519PrivateKey.from_private_bytes(self.seed[:32])


@dataclass(frozen=True)
class InstallationPublicKey:
    raw: bytes

    @classmethod
    def of(cls, text: str) -> Self:
        """From base64.

        Raises:
            ValueError: it is not a key.

        """
        raw = base64.b64decode(text, validate=True)
        if len(raw) != 32:
            raise ValueError("A public key has 32 bytes.")
        return cls(raw)

    def check(self, use: str, message: bytes, signature: str) -> None:
        """Return if the signature holds.

        Raises:
            WrongSignatureError: it does not.

        """
        try:
            raw = base64.b64decode(signature, validate=True)
            Ed25519PublicKey.from_public_bytes(self.raw).verify(raw, _bound(use, message))
        except (InvalidSignature, ValueError) as error:
            raise WrongSignatureError from error


def _bound(use: str, message: bytes) -> bytes:
    return f"dermqueue {use}\0".encode() + message
