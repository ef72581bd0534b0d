"""The words of notices: each kind has its own, and says what to do."""

import pytest

from clinic.notices import NoticeKind, message

LINK = "https://derm.example/password/new/token"
NEWS = {NoticeKind.CASE_MESSAGE, NoticeKind.NEWS}
WITH_LINK = {NoticeKind.PASSWORD_RESET, NoticeKind.EMAIL_CHANGE, NoticeKind.REGISTRATION}

ABOUT_WORK = {
    *(NoticeKind.CASES_NEARLY_DUE, NoticeKind.CASES_OVERDUE, NoticeKind.CASE_HANDED_OVER),
}
WITHOUT_PHONE = WITH_LINK | ABOUT_WORK | {NoticeKind.ADDRESS_TAKEN}


@pytest.mark.parametrize("kind", NoticeKind)
def test_every_notice_says_what_to_do(kind: NoticeKind) -> None:
    link = LINK if kind in WITH_LINK else None
    found = message(kind, clinic_name="Harbour Clinic", phone="01632 960 983", link=link)

    assert found.subject.endswith(" - DermQueue")
    assert "\n" not in found.subject
    assert "Harbour Clinic" in found.text
    assert (LINK in found.text) == (kind in WITH_LINK)
    if kind in NEWS:
        assert "Sign in" in found.text
        assert "Call us" in found.text
    else:
        assert "you need to do nothing" in found.text
    assert ("01632 960 983" in found.text) != (kind in WITHOUT_PHONE)


def test_no_two_notices_have_the_same_words() -> None:
    told = [message(kind, clinic_name="", phone="", link=None) for kind in NoticeKind]

    assert len({one.subject for one in told}) == len({one.text for one in told}) == len(told)


@pytest.mark.parametrize("kind", sorted(ABOUT_WORK))
def test_a_notice_about_work_names_no_patient_no_case_and_no_illness(kind: NoticeKind) -> None:
    text = message(kind, clinic_name="", phone="", link=None).text.lower()
    assert not {"patient", "case", "skin", "cancer", "photo", "diagnos"} & set(text.split())
    assert "sign in" in text
