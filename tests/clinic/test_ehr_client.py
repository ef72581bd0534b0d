import pytest

from clinic.ehr_client import grants


@pytest.mark.parametrize(
    "scope",
    ["system/Patient.r", "system/Patient.rs", "system/*.rs", "system/Patient.read", "system/*.*"],
)
def test_a_scope_grants_what_it_names(scope):
    assert grants(frozenset({"openid", scope}), "system/Patient.r")


@pytest.mark.parametrize(
    "scope",
    [
        "",
        "system/Patient.",
        "system/Patient.s",
        "system/Patient.u",
        "system/Patient.search",
        "system/Patient.rs?category=x",
        "system/Practitioner.rs",
        "patient/Patient.rs",
        "user/*.*",
        "Patient.rs",
        "system/Patient.sr",
    ],
)
def test_any_other_scope_grants_nothing(scope):
    assert not grants(frozenset({scope}), "system/Patient.r")


def test_no_scope_grants_nothing():
    assert not grants(frozenset(), "system/Patient.r")


def test_rights_of_two_scopes_do_not_add_up_by_accident():
    assert not grants(frozenset({"system/Patient.s", "system/Media.r"}), "system/Patient.r")
