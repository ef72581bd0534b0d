"""Tokens of links: long, new each time, stored as a hash; every purpose has a short life."""

from datetime import timedelta

from clinic.one_time_link import LIFE, LinkPurpose, digest, new_token


def test_a_token_has_256_bits_and_is_new_each_time() -> None:
    tokens = {new_token() for _ in range(100)}

    assert len(tokens) == 100
    assert {len(one) for one in tokens} == {43}


def test_what_is_stored_does_not_lead_back() -> None:
    token = new_token()

    assert len(digest(token)) == 64
    assert token not in digest(token)
    assert digest(token) == digest(token) != digest(new_token())


def test_every_purpose_lives_shortly() -> None:
    assert LIFE.keys() == set(LinkPurpose)
    assert all(timedelta(minutes=10) <= one <= timedelta(hours=2) for one in LIFE.values())
    assert LIFE[LinkPurpose.PASSWORD_RESET] <= timedelta(minutes=30)
