"""Emergency copies of private keys, which only two people together can open.

A copy is age inside age (c2sp.org/age): the inner layer for the first person's key, the outer one
for the second's. Each makes a key pair alone, so that at no time anybody holds both halves. The
program `age` opens a copy too: `age -d -i half-b COPY | age -d -i half-a`.
"""

from dataclasses import dataclass

import pyrage


class EscrowError(Exception):
    """An emergency copy cannot be made or opened; the message says why."""


@dataclass(frozen=True)
class Escrow:
    """The public keys (age1...) of the two people."""

    recipients: tuple[str, str]

    def __post_init__(self) -> None:
        if self.recipients[0] == self.recipients[1]:
            raise EscrowError("The two emergency keys are the same: one person could open alone.")
        for one in self.recipients:
            _recipient(one)

    def copy(self, secret: bytes, *, kid: str) -> bytes:
        """Seal `secret`, which is the private half or the value of the key `kid`."""
        sealed = _labelled(kid) + secret
        for one in self.recipients:
            sealed = pyrage.encrypt(sealed, [_recipient(one)])
        return sealed


def open_copy(copy: bytes, *, halves: tuple[str, str], kid: str) -> bytes:
    """The key that `copy` was made of; the halves are secret keys of age, in either order.

    Raises:
        EscrowError: a half is missing or wrong, or the copy is another key's or was changed.

    """
    identities = check_halves(halves)
    content = copy
    try:
        for _ in halves:
            content = pyrage.decrypt(content, identities)
    except pyrage.DecryptError as error:
        raise EscrowError(
            f"These two halves do not open the emergency copy of {kid}: {error}."
        ) from error
    if not content.startswith(_labelled(kid)):
        raise EscrowError(f"The emergency copy of {kid} holds another key.")
    return content.removeprefix(_labelled(kid))


def check_halves(halves: tuple[str, str]) -> list["pyrage.x25519.Identity"]:
    """The halves as identities.

    Raises:
        EscrowError: they are no secret keys of age, or one and the same.

    """
    try:
        identities = [pyrage.x25519.Identity.from_str(one) for one in halves]
    except pyrage.IdentityError as error:
        raise EscrowError("A half is no secret key of age (AGE-SECRET-KEY-1...).") from error
    if str(identities[0].to_public()) == str(identities[1].to_public()):
        raise EscrowError("Both halves are the same: two people are needed.")
    return identities


def _recipient(text: str) -> "pyrage.x25519.Recipient":
    try:
        return pyrage.x25519.Recipient.from_str(text)
    except pyrage.RecipientError as error:
        raise EscrowError(f"{text} is no public key of age: it begins with age1.") from error


def _labelled(kid: str) -> bytes:
    return f"{kid}\n".encode()
