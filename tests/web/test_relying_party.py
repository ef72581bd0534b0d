"""What browsers are asked for a passkey, by the address of the portal; garbage is just refused."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.soft_authenticator import SoftAuthenticator
from web.relying_party import Claim, PasskeyRefusedError, RelyingParty

SITE = RelyingParty("localhost", "http://localhost")
CHALLENGE = b"c" * 64
ADDRESSES = [
    ("https://derm.example", RelyingParty("derm.example", "https://derm.example")),
    ("https://derm.example:8443", RelyingParty("derm.example", "https://derm.example:8443")),
    ("http://localhost:8000", RelyingParty("localhost", "http://localhost:8000")),
    ("http://127.0.0.1:8000", None),
    ("http://[::1]:8000", None),
]


@pytest.mark.parametrize(("address", "site"), ADDRESSES)
def test_an_address_with_a_name_can_have_passkeys(address: str, site: RelyingParty | None) -> None:
    assert RelyingParty.of(address) == site


def test_a_credential_is_made_once_for_its_challenge() -> None:
    asked = SITE.creation_options(
        account_id="ab" * 16, email="a@b.example", challenge=CHALLENGE, known=[]
    )
    answer = SoftAuthenticator().create(asked)

    made = SITE.new_credential(answer, challenge=CHALLENGE)

    assert made.credential_id == Claim.of(answer).credential_id
    with pytest.raises(PasskeyRefusedError):
        SITE.new_credential(answer, challenge=b"d" * 64)
    with pytest.raises(PasskeyRefusedError):
        RelyingParty("derm.example", SITE.origin).new_credential(answer, challenge=CHALLENGE)


def answers() -> st.SearchStrategy[str]:
    """What a form may carry: any text, and JSON of the right shape with anything in it."""
    text = st.text(max_size=60)
    base64 = st.binary(max_size=80).map(lambda raw: raw.hex())
    parts = ("clientDataJSON", "authenticatorData", "attestationObject", "signature", "userHandle")
    response = st.fixed_dictionaries({}, optional=dict.fromkeys(parts, text | base64 | st.none()))
    ids = st.one_of(text, base64, st.integers())
    shaped = st.fixed_dictionaries(
        {"id": ids, "rawId": ids, "type": st.just("public-key"), "response": response}
    )
    return text | shaped.map(json.dumps)


@given(answers())
def test_garbage_is_refused_and_nothing_else_happens(answer: str) -> None:
    with pytest.raises(PasskeyRefusedError):
        SITE.new_credential(answer, challenge=CHALLENGE)
    with pytest.raises(PasskeyRefusedError):
        SITE.sign_count(answer, challenge=CHALLENGE, public_key=b"x", sign_count=0)


@given(st.binary(max_size=120))
def test_a_damaged_attestation_is_refused(damage: bytes) -> None:
    asked = SITE.creation_options(
        account_id="ab" * 16, email="a@b.example", challenge=CHALLENGE, known=[]
    )
    found = json.loads(SoftAuthenticator().create(asked))
    found["response"]["attestationObject"] = damage.hex()

    with pytest.raises(PasskeyRefusedError):
        SITE.new_credential(json.dumps(found), challenge=CHALLENGE)
