import pytest

from web.permission import Mark, ehr_client, mark_of, public, roles


def test_a_view_without_a_mark_has_none():
    assert mark_of(lambda: "page") is None


def test_each_decorator_leaves_its_mark_and_the_view_as_it_was():
    shown = public(lambda: "page")
    assert shown() == "page"
    assert mark_of(shown) == Mark(kind="public")
    assert mark_of(roles("patient", "admin")(lambda: "")) == Mark(
        kind="role", roles=frozenset({"patient", "admin"})
    )
    marked = ehr_client("system/Patient.rs")(lambda: "")
    assert mark_of(marked) == Mark(kind="ehr_client", scope="system/Patient.rs")


def test_a_second_mark_is_refused():
    with pytest.raises(ValueError, match="one permission mark"):
        public(roles("admin")(lambda: "page"))


def test_a_mark_for_no_role_is_refused():
    with pytest.raises(ValueError, match="no role"):
        roles()
