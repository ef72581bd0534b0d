"""Passwords: what is refused and in which words, and how the others are stored."""

import time
import unicodedata

import pytest
from argon2 import PasswordHasher
from hypothesis import given
from hypothesis import strategies as st
from zxcvbn.matching import RANKED_DICTIONARIES

from clinic.passwords import (
    COMMON,
    MAX_LENGTH,
    MIN_LENGTH,
    PERSONAL,
    TOO_LONG,
    TOO_SHORT,
    Passwords,
    password_problem,
)

FAST = Passwords.using(PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))
ADA = ["Ada", "Okafor", "ada.okafor@example.com", "Harbour Skin Clinic"]


@pytest.mark.parametrize(
    "password",
    [
        "correct horse battery",
        "a sentence without digits",
        "zwölf Katzen!",
        "日本語のとても長い合言葉です",
        "xK9#mQ2v",
        " leading and trailing spaces ",
    ],
)
def test_what_is_hard_to_guess_is_taken_whatever_signs_it_is_made_of(password: str) -> None:
    assert password_problem(password, ADA) is None


@pytest.mark.parametrize(
    ("password", "words"),
    [
        ("", TOO_SHORT),
        ("x7#kQ2v", TOO_SHORT),
        ("zq8 vtw3k" * 15, TOO_LONG),
        ("PASSWORD123", COMMON),
        ("P@ssw0rd1!", COMMON),
        ("qwertyuiop", COMMON),
        ("1q2w3e4r5t", COMMON),
        ("aaaaaaaaaaaa", COMMON),
        ("ababababababab", COMMON),
        ("iloveyou123", COMMON),
        ("27031985", COMMON),
        ("dermqueue1", PERSONAL),
        ("Teledermatology", PERSONAL),
        ("okafor1985", PERSONAL),
        ("Ada.Okafor", PERSONAL),
        ("0kafor!Ada", PERSONAL),
        ("HarbourSkin1", PERSONAL),
    ],
)
def test_what_others_would_try_is_refused_with_a_way_out(password: str, words: str) -> None:
    assert password_problem(password, ADA) == words


def test_ones_own_words_are_no_obstacle_to_others() -> None:
    assert password_problem("quimtorvaxel", ["Quimtorvaxel"]) == PERSONAL
    assert password_problem("quimtorvaxel", ADA) is None
    assert "quim" not in str(RANKED_DICTIONARIES.get("user_inputs")), "kept for other people"


def test_the_floor_and_the_ceiling_are_those_of_the_form() -> None:
    assert password_problem("zq8 vtw3"[:MIN_LENGTH], []) is None
    longest = ("velvet otter cargo " * 9)[:MAX_LENGTH]
    assert len(longest) == MAX_LENGTH
    assert password_problem(longest, []) != TOO_LONG


@given(st.text(max_size=200), st.lists(st.text(max_size=40), max_size=4))
def test_any_text_gets_an_answer(password: str, about: list[str]) -> None:
    problem = password_problem(password, about)
    assert problem is None or problem.endswith(".")


def test_the_longest_password_is_judged_in_no_time_to_speak_of() -> None:
    began = time.process_time()
    for password in ("4@$5w0rd" * 16, "a" * 128, "qwerty12" * 16):
        password_problem(password, ADA)
    assert time.process_time() - began < 5, "one person could keep the portal busy"


def test_a_password_matches_its_own_hash_only() -> None:
    stored = FAST.hash("correct horse battery")

    assert FAST.matches(stored, "correct horse battery")
    assert not FAST.matches(stored, "correct horse batterz")
    assert not FAST.matches(stored, "correct horse battery ")


def test_a_letter_counts_however_a_keyboard_composes_it() -> None:
    composed, taken_apart = (unicodedata.normalize(form, "zwölf Äpfel") for form in ("NFC", "NFD"))
    assert composed != taken_apart

    assert FAST.matches(FAST.hash(taken_apart), composed)


def test_an_unknown_account_costs_a_hash_and_never_matches() -> None:
    assert not FAST.matches(None, "anything")
    assert FAST.decoy.startswith("$argon2id$")


def test_a_damaged_hash_matches_nothing() -> None:
    assert not FAST.matches("not a hash", "anything")


def test_passwords_are_hashed_as_the_rfc_recommends() -> None:
    hasher = Passwords.standard().hasher
    assert Passwords.standard().hash("x").startswith("$argon2id$v=19$m=65536,t=3,p=4$")
    assert hasher.salt_len >= 16


def test_a_hash_of_other_parameters_is_outdated() -> None:
    older = Passwords.using(PasswordHasher(time_cost=2, memory_cost=8, parallelism=1))

    assert FAST.is_outdated(older.hash("x"))
    assert not FAST.is_outdated(FAST.hash("x"))
