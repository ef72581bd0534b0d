"""What of a signed case goes into a training set, in whose words."""

import csv
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from clinic.body_site import BodyLocation, BodySite
from clinic.intake import Sex
from clinic.training_case import SITE_WORDS, Truth, rounded_age, training_case
from tests.world import history

METADATA = Path("../shared/data/ham10000/HAM10000_metadata.csv")
HAM10000_SITES = {
    *("abdomen", "acral", "back", "chest", "ear", "face", "foot", "genital", "hand"),
    *("lower extremity", "neck", "scalp", "trunk", "unknown", "upper extremity"),
}


@pytest.mark.parametrize(
    ("age", "rounded"),
    [(0, 0), (2, 0), (3, 5), (52, 50), (53, 55), (85, 85), (88, 85), (101, 85)],
)
def test_ages_are_rounded_to_five_years_and_end_at_85(age: int, rounded: int) -> None:
    assert rounded_age(age) == rounded


def test_every_body_site_has_a_word_of_ham10000() -> None:
    assert set(SITE_WORDS) == set(BodySite)
    assert set(SITE_WORDS.values()) <= HAM10000_SITES


@pytest.mark.skipif(not METADATA.exists(), reason="needs HAM10000's metadata")
def test_these_are_the_words_and_the_oldest_age_of_the_published_table() -> None:
    with METADATA.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert {row["localization"] for row in rows} == HAM10000_SITES
    assert {row["sex"] for row in rows} == {"female", "male", "unknown"}
    assert max(float(row["age"]) for row in rows if row["age"]) == rounded_age(120)


def test_of_the_history_only_age_sex_and_site_are_told() -> None:
    told = replace(
        history(),
        sex=Sex.UNDISCLOSED,
        location=BodyLocation(BodySite.SOLE, detail="under the tattoo"),
        notes="I live at Harbour Road.",
    )
    case = training_case(told, Truth("mel"), image_id="i", lesion_id="l", sha256="s")
    assert asdict(case) == {
        "image_id": "i",
        "lesion_id": "l",
        "dx": "mel",
        "file": "i.jpg",
        "sha256": "s",
        "dx_type": "reader",
        "age": 50,
        "sex": "unknown",
        "localization": "acral",
    }
