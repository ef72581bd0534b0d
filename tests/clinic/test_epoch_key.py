import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from clinic.epoch_key import (
    BadEpochSignature,
    EpochKey,
    EpochKeyError,
    MalformedEpochKey,
    OutsideEpoch,
    SignedEpochKey,
    root_fingerprint,
    sign_epoch_key,
    verify_epoch_key,
)

ROOT = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
ROOT_PUBLIC = ROOT.public_key().public_bytes_raw()
MONDAY = datetime(2026, 11, 23, tzinfo=UTC)
EPOCH = EpochKey(
    kid="epoch-48",
    public_key=bytes(range(32)),
    not_before=MONDAY,
    not_after=MONDAY + timedelta(days=7),
)
SIGNED = sign_epoch_key(EPOCH, ROOT)


def test_a_signed_epoch_key_holds_within_its_period() -> None:
    for now in (MONDAY, MONDAY + timedelta(days=7, seconds=-1)):
        assert verify_epoch_key(SIGNED, ROOT_PUBLIC, now=now) == EPOCH


def test_an_epoch_key_is_refused_before_and_after_its_period() -> None:
    for now in (MONDAY - timedelta(seconds=1), MONDAY + timedelta(days=7)):
        with pytest.raises(OutsideEpoch):
            verify_epoch_key(SIGNED, ROOT_PUBLIC, now=now)


@pytest.mark.parametrize(
    "changed",
    [
        replace(EPOCH, kid="epoch-49"),
        replace(EPOCH, public_key=bytes(32)),
        replace(EPOCH, not_before=MONDAY - timedelta(days=1)),
        replace(EPOCH, not_after=MONDAY + timedelta(days=70)),
    ],
)
def test_a_change_to_any_signed_field_breaks_the_signature(changed: EpochKey) -> None:
    forged = SignedEpochKey(epoch=changed, signature=SIGNED.signature)
    with pytest.raises(BadEpochSignature):
        verify_epoch_key(forged, ROOT_PUBLIC, now=MONDAY)


def test_another_roots_signature_is_refused() -> None:
    impostor = sign_epoch_key(EPOCH, Ed25519PrivateKey.generate())
    with pytest.raises(BadEpochSignature):
        verify_epoch_key(impostor, ROOT_PUBLIC, now=MONDAY)


def test_a_useless_root_key_verifies_nothing() -> None:
    with pytest.raises(BadEpochSignature):
        verify_epoch_key(SIGNED, b"", now=MONDAY)


def test_the_json_form_survives_the_round_trip() -> None:
    assert SignedEpochKey.from_json(SIGNED.to_json()) == SIGNED


def test_one_moment_in_another_time_zone_is_the_same_signed_text() -> None:
    abroad = replace(EPOCH, not_before=MONDAY.astimezone(timezone(timedelta(hours=9))))
    assert abroad.canonical_bytes() == EPOCH.canonical_bytes()


def test_the_signed_text_stays_as_it_was_first_written() -> None:
    assert EPOCH.canonical_bytes() == (
        b"dermqueue epoch key 1\nepoch-48\n"
        b"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n1795392000\n1795996800\n"
    )


def test_the_fingerprint_is_the_hash_of_the_raw_root_key() -> None:
    assert root_fingerprint(b"") == (
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"kid": "two\nlines"},
        {"kid": ""},
        {"kid": 7},
        {"public_key": "AAAA"},
        {"public_key": None},
        {"public_key": "*"},
        {"signature": "AAAA"},
        {"not_before": 1.5},
        {"not_before": True},
        {"not_before": -1},
        {"not_after": 2**53},
        {"not_after": 2**52},
        {"not_after": 1795392000},
        {"extra": 1},
    ],
)
def test_json_outside_the_grammar_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(MalformedEpochKey):
        SignedEpochKey.from_json(json.dumps(json.loads(SIGNED.to_json()) | changes))


@given(text=st.text(max_size=60))
def test_arbitrary_text_is_refused_in_words(text: str) -> None:
    with pytest.raises(EpochKeyError):
        SignedEpochKey.from_json(text)


@pytest.mark.parametrize(
    "moment", [MONDAY.replace(tzinfo=None), MONDAY + timedelta(microseconds=1)]
)
def test_a_time_without_zone_or_with_fractions_is_refused(moment: datetime) -> None:
    with pytest.raises(MalformedEpochKey):
        replace(EPOCH, not_before=moment)
