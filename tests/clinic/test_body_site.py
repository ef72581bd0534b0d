import pytest

from clinic.body_site import BodyLocation, BodySite, Side


def test_every_site_has_a_plain_label_of_its_own() -> None:
    labels = [site.label for site in BodySite]

    assert all(labels)
    assert len(set(labels)) == len(BodySite)


def test_only_the_private_parts_are_intimate() -> None:
    assert [site for site in BodySite if site.is_intimate] == [BodySite.GENITAL]


@pytest.mark.parametrize(
    ("side", "words"),
    [(Side.LEFT, "arm, left"), (Side.MIDDLE, "arm, middle"), (Side.NOT_APPLICABLE, "arm")],
)
def test_a_location_is_named_by_site_and_side(side: Side, words: str) -> None:
    assert BodyLocation(BodySite.UPPER_EXTREMITY, side).words == words


def test_the_patients_own_words_stay_out_of_the_short_name() -> None:
    location = BodyLocation(BodySite.BACK, Side.RIGHT, "under the strap, since my holiday")

    assert location.words == "back, right"
