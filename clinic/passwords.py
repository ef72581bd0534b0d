"""Passwords: which are refused, and how they are stored.

Length and a guess at how many tries an attacker needs decide, never a kind of character that must
be there (NIST SP 800-63B-4 section 3.1.1.2, ASVS 5 section 6.2). Everything happens in this
process: no service is asked.
"""

import secrets
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerifyMismatchError
from zxcvbn.matching import RANKED_DICTIONARIES, build_ranked_dict, omnimatch
from zxcvbn.scoring import most_guessable_match_sequence

# The floor of ASVS 6.2.1. An attacker has few tries here (web/rate_limits.py), staff prove a second
# factor as well, and whatever is short must be as hard to guess as MIN_GUESSES says.
MIN_LENGTH = 8
MAX_LENGTH = 128
MIN_GUESSES = 10**8  # zxcvbn's score 3: out of reach of a slow hash that was stolen (Wheeler 2016)
_CONTEXT = ("dermqueue", "dermatology", "dermatologist", "teledermatology", "skin", "clinic")
_LEAST_REST = 5  # so that a year behind a name is not enough
_OWN_WORDS = "user_inputs"
_LONGEST_JUDGED = 72  # the matching takes longer than the square of the length

TOO_SHORT = f"Use at least {MIN_LENGTH} characters. A short sentence works well."
TOO_LONG = f"Use {MAX_LENGTH} characters or fewer."
PERSONAL = (
    "This password is too easy to guess. Leave out your name, your email address and the name of "
    "this service. Use three or four words that have nothing to do with you."
)
COMMON = (
    "This password is too easy to guess. Many people use it or one like it. "
    "Use three or four words that do not belong together."
)


def password_problem(password: str, about: Iterable[str]) -> str | None:
    """Why a password is refused, in words that say what to do; None for a good one.

    `about` are words that others may know: names, the e-mail address, the clinic's name.
    """
    if len(password) < MIN_LENGTH:
        return TOO_SHORT
    if len(password) > MAX_LENGTH:
        return TOO_LONG
    own = [*_CONTEXT, *_words(about)]
    if _rest_of(password, own) < _LEAST_REST:
        return PERSONAL
    found = _guessed(password[:_LONGEST_JUDGED], own)
    if found["guesses"] >= MIN_GUESSES:
        return None
    dictionaries = {match.get("dictionary_name") for match in found["sequence"]}
    return PERSONAL if _OWN_WORDS in dictionaries else COMMON


def _words(about: Iterable[str]) -> list[str]:
    """Each text and its parts: `ada.okafor@example.com` is guessed as `ada` and `okafor` too."""
    texts = [text.casefold() for text in about if text]
    parts = [part for text in texts for part in _split(text) if len(part) > 2]
    return list(dict.fromkeys([*texts, *parts]))


def _split(text: str) -> list[str]:
    return "".join(one if one.isalnum() else " " for one in text).split()


def _rest_of(password: str, own_words: list[str]) -> int:
    """How many letters and digits are left when everybody's guesses are taken out.

    Several such words in a row look like a long password to the matching.
    """
    rest = password.casefold()
    for word in sorted(own_words, key=len, reverse=True):
        rest = rest.replace(word, "")
    return sum(one.isalnum() for one in rest)


def _guessed(password: str, own_words: list[str]) -> Any:
    """What `zxcvbn.zxcvbn` does, which would keep one person's words in a table of all threads."""
    ranked = {**RANKED_DICTIONARIES, _OWN_WORDS: build_ranked_dict(own_words)}
    return most_guessable_match_sequence(password, omnimatch(password, ranked))


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
        return self.hasher.hash(_normal(password))

    def matches(self, stored: str | None, password: str) -> bool:
        try:
            self.hasher.verify(stored or self.decoy, _normal(password))
        except (VerifyMismatchError, InvalidHashError):
            return False
        return stored is not None

    def is_outdated(self, stored: str) -> bool:
        """Whether a hash was made with other parameters than today's."""
        return self.hasher.check_needs_rehash(stored)


def _normal(password: str) -> str:
    """One spelling of each character, however a keyboard composes it (UAX 15, form NFC)."""
    return unicodedata.normalize("NFC", password)
