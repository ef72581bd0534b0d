"""What protects an account."""

import pytest

from clinic.account_secrets import AccountSecretError, AccountSecrets

BOX = AccountSecrets(b"s" * 32)


def test_the_index_of_an_address_ignores_case_and_space() -> None:
    assert BOX.email_index(" Alice@Example.ORG ") == BOX.email_index("alice@example.org")
    assert BOX.email_index("alice@example.org") != BOX.email_index("alicia@example.org")


def test_without_the_key_an_index_says_nothing() -> None:
    assert AccountSecrets(b"t" * 32).email_index("a@b.org") != BOX.email_index("a@b.org")
    assert "alice" not in BOX.email_index("alice@example.org")


def test_a_sealed_field_opens_where_it_was_sealed() -> None:
    sealed = BOX.seal("JBSWY3DP", account_id="a1", column="totp_secret")

    assert b"JBSWY3DP" not in sealed
    assert BOX.unseal(sealed, account_id="a1", column="totp_secret") == "JBSWY3DP"
    assert sealed != BOX.seal("JBSWY3DP", account_id="a1", column="totp_secret")


@pytest.mark.parametrize(
    ("account_id", "column"), [("a2", "totp_secret"), ("a1", "email"), ("a1", "")]
)
def test_a_field_that_was_moved_does_not_open(account_id: str, column: str) -> None:
    sealed = BOX.seal("secret", account_id="a1", column="totp_secret")
    with pytest.raises(AccountSecretError):
        BOX.unseal(sealed, account_id=account_id, column=column)


@pytest.mark.parametrize("place", [1, 13, -1])
def test_a_flipped_bit_is_refused(place: int) -> None:
    sealed = bytearray(BOX.seal("secret", account_id="a1", column="email"))
    sealed[place] ^= 1
    with pytest.raises(AccountSecretError):
        BOX.unseal(bytes(sealed), account_id="a1", column="email")


def test_another_key_does_not_open() -> None:
    sealed = BOX.seal("secret", account_id="a1", column="email")
    with pytest.raises(AccountSecretError):
        AccountSecrets(b"t" * 32).unseal(sealed, account_id="a1", column="email")


def test_a_pseudonym_stays_the_same_in_one_clinic_and_leads_nowhere_without_the_key() -> None:
    name = BOX.pseudonym("case-1", clinic_id="clinic-1")
    assert name == BOX.pseudonym("case-1", clinic_id="clinic-1")
    others = {
        BOX.pseudonym("case-2", clinic_id="clinic-1"),
        BOX.pseudonym("case-1", clinic_id="clinic-2"),
        AccountSecrets(b"t" * 32).pseudonym("case-1", clinic_id="clinic-1"),
    }
    assert len(others | {name}) == 4
    assert {len(one) for one in others} == {32}


def test_the_key_never_shows() -> None:
    assert "sss" not in repr(BOX)
