"""WebAuthn (level 3) from the server's side: what browsers are asked, and whether they answered.

The library checks signatures and formats. What it is told here: which site this is, which challenge
was sent, and that the person must have been verified by their device, so that a passkey is two
factors in one. Attestation is not asked for: nobody here trusts a maker more than another.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

import webauthn
from cbor2 import CBORError
from cryptography.exceptions import UnsupportedAlgorithm
from webauthn.helpers import base64url_to_bytes, options_to_json_dict
from webauthn.helpers.exceptions import WebAuthnException
from webauthn.helpers.structs import (
    AuthenticatorSelectionCriteria,
    PublicKeyCredentialDescriptor,
    ResidentKeyRequirement,
    UserVerificationRequirement,
)

NAME = "DermQueue"
LONGEST_CREDENTIAL = 16_000
_REQUIRED = UserVerificationRequirement.REQUIRED
# Whatever a browser may send: the library does not turn every fault of its input into its own.
_BAD_INPUT = (WebAuthnException, CBORError, UnsupportedAlgorithm, ValueError, KeyError, TypeError)


class PasskeyRefusedError(Exception):
    """The browser's answer does not fit. The message is for a log and holds nothing of it."""


@dataclass(frozen=True)
class NewCredential:
    credential_id: bytes
    public_key: bytes
    sign_count: int


@dataclass(frozen=True)
class RelyingParty:
    """The site, as browsers and passkeys know it."""

    id: str
    origin: str

    @classmethod
    def of(cls, public_url: str) -> "RelyingParty | None":
        """The site at this address; None for a bare IP address, which can have no passkeys."""
        parts = urlsplit(public_url)
        host = parts.hostname or ""
        return None if _is_ip(host) else cls(host, f"{parts.scheme}://{parts.netloc}")

    def creation_options(
        self, *, account_id: str, email: str, challenge: bytes, known: Sequence[bytes]
    ) -> dict[str, Any]:
        """What `navigator.credentials.create` is asked, as JSON. `known` are not made again."""
        options = webauthn.generate_registration_options(
            rp_id=self.id,
            rp_name=NAME,
            user_id=bytes.fromhex(account_id),
            user_name=email,
            challenge=challenge,
            authenticator_selection=AuthenticatorSelectionCriteria(
                resident_key=ResidentKeyRequirement.REQUIRED, user_verification=_REQUIRED
            ),
            exclude_credentials=[PublicKeyCredentialDescriptor(one) for one in known],
        )
        return options_to_json_dict(options)

    def request_options(self, *, challenge: bytes, allowed: Sequence[bytes]) -> dict[str, Any]:
        """What `navigator.credentials.get` is asked. Without `allowed` the person may choose."""
        options = webauthn.generate_authentication_options(
            rp_id=self.id,
            challenge=challenge,
            allow_credentials=[PublicKeyCredentialDescriptor(one) for one in allowed],
            user_verification=_REQUIRED,
        )
        return options_to_json_dict(options)

    def new_credential(self, answer: str, *, challenge: bytes) -> NewCredential:
        """The credential that a browser made for this challenge.

        Raises:
            PasskeyRefusedError: it did not, or for another site, or without verifying the person.

        """
        try:
            made = webauthn.verify_registration_response(
                credential=answer,
                expected_challenge=challenge,
                expected_rp_id=self.id,
                expected_origin=self.origin,
                require_user_verification=True,
            )
        except _BAD_INPUT as error:
            raise PasskeyRefusedError(type(error).__name__) from error
        return NewCredential(made.credential_id, made.credential_public_key, made.sign_count)

    def sign_count(
        self, answer: str, *, challenge: bytes, public_key: bytes, sign_count: int
    ) -> int:
        """The new counter of a passkey that answered this challenge; 0 for one that does not count.

        Raises:
            PasskeyRefusedError: the answer is another's, an old one, or its counter went back,
                which a copied passkey would do.

        """
        try:
            proved = webauthn.verify_authentication_response(
                credential=answer,
                expected_challenge=challenge,
                expected_rp_id=self.id,
                expected_origin=self.origin,
                credential_public_key=public_key,
                credential_current_sign_count=sign_count,
                require_user_verification=True,
            )
        except _BAD_INPUT as error:
            raise PasskeyRefusedError(type(error).__name__) from error
        return proved.new_sign_count


@dataclass(frozen=True)
class Claim:
    """What an answer says of itself, before anything was checked."""

    credential_id: bytes
    user_handle: bytes | None

    @classmethod
    def of(cls, answer: str) -> "Claim":
        """Raises PasskeyRefusedError where the answer is not JSON, or names no credential."""
        try:
            found = json.loads(answer)
            handle = found["response"].get("userHandle")
            credential_id = base64url_to_bytes(found["rawId"])
            return cls(credential_id, base64url_to_bytes(handle) if handle else None)
        except (*_BAD_INPUT, AttributeError) as error:
            raise PasskeyRefusedError(type(error).__name__) from error

    def is_of(self, account_id: str) -> bool:
        """Whether the passkey was made for this account, where it says for whom."""
        return self.user_handle is None or self.user_handle.hex() == account_id


def _is_ip(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
