"""The installation's signature serves one use alone."""

import pytest

from clinic.installation_key import InstallationKey, InstallationPublicKey, WrongSignatureError

KEY = InstallationKey(b"i" * 32)
PUBLIC = InstallationPublicKey.of(KEY.public)


def test_a_signature_holds_for_its_use_and_message() -> None:
    PUBLIC.check("anchor", b"words", KEY.sign("anchor", b"words"))


@pytest.mark.parametrize(
    ("use", "message", "key"),
    [("certificate", b"words", KEY), ("anchor", b"other", KEY), ("anchor", b"words", b"x" * 32)],
)
def test_it_holds_for_nothing_else(use: str, message: bytes, key: InstallationKey | bytes) -> None:
    signer = key if isinstance(key, InstallationKey) else InstallationKey(key)
    with pytest.raises(WrongSignatureError):
        PUBLIC.check("anchor", b"words", signer.sign(use, message))


@pytest.mark.parametrize("signature", ["", "not base64!", "AAAA"])
def test_what_is_no_signature_is_refused(signature: str) -> None:
    with pytest.raises(WrongSignatureError):
        PUBLIC.check("anchor", b"words", signature)


def test_a_public_key_has_32_bytes() -> None:
    with pytest.raises(ValueError, match="32"):
        InstallationPublicKey.of("AAAA")


def test_the_private_key_never_shows() -> None:
    assert "iiii" not in repr(KEY)
