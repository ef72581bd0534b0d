from collections import Counter
from dataclasses import replace

import pytest

from ml.folds import (
    FOLDS,
    LabelDataError,
    LeakError,
    Record,
    check_no_leak,
    make_folds,
    read_folds,
    read_metadata,
    write_folds,
)


@pytest.fixture(scope="module")
def committed():
    return read_folds()


def test_all_images_of_the_data_set_have_a_place(committed):
    assert len(committed) == 10_015
    assert len({place.lesion_id for place in committed.values()}) == 7_470


def test_no_lesion_of_the_committed_folds_stands_on_two_sides(committed):
    sides = {}
    for place in committed.values():
        assert sides.setdefault(place.lesion_id, (place.fold, place.half)) == (
            place.fold,
            place.half,
        )


def test_folds_and_halves_are_of_like_size(committed):
    sizes = Counter((place.fold, place.half) for place in committed.values())
    assert len(sizes) == 2 * FOLDS
    assert max(sizes.values()) - min(sizes.values()) <= 2


def test_a_lesion_moved_to_another_fold_is_found_and_named(committed):
    leaking = dict(committed)
    place = leaking["ISIC_0027419"]
    leaking["ISIC_0027419"] = replace(place, fold=(place.fold + 1) % FOLDS)
    with pytest.raises(LeakError, match=place.lesion_id):
        check_no_leak(leaking)


def test_a_lesion_in_both_halves_of_a_fold_is_found(committed):
    leaking = dict(committed)
    place = leaking["ISIC_0027419"]
    other = "report" if place.half == "calibrate" else "calibrate"
    leaking["ISIC_0027419"] = replace(place, half=other)
    with pytest.raises(LeakError, match=place.lesion_id):
        check_no_leak(leaking)


def test_making_folds_twice_gives_the_same_ones_without_a_leak(tmp_path):
    records = [
        Record(f"image {number}", f"lesion {number // 2}", (number // 2) % 7)
        for number in range(280)
    ]
    first = make_folds(records)
    check_no_leak(first)
    assert first == make_folds(records)
    write_folds(first, tmp_path / "folds.csv")
    assert read_folds(tmp_path / "folds.csv") == first


def test_an_unknown_diagnosis_is_refused_by_name(tmp_path):
    path = tmp_path / "metadata.csv"
    path.write_text("lesion_id,image_id,dx\nL1,ISIC_1,nv\nL2,ISIC_2,wart\n")
    with pytest.raises(LabelDataError, match=r"ISIC_2 \(wart\)"):
        read_metadata(path)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("image_id,dx\nISIC_1,nv\n", "needs rows with the columns dx, image_id, lesion_id"),
        ("lesion_id,image_id,dx\n", "needs rows"),
        ("lesion_id,image_id,dx\nL1,\udcff,nv\n", "cannot be read as a table"),
    ],
)
def test_a_table_that_is_none_is_refused_with_the_reason(tmp_path, text, words):
    path = tmp_path / "metadata.csv"
    path.write_text(text, errors="surrogateescape")
    with pytest.raises(LabelDataError, match=words):
        read_metadata(path)


def test_missing_tables_are_named(tmp_path):
    with pytest.raises(LabelDataError, match=r"nowhere\.csv cannot be read"):
        read_metadata(tmp_path / "nowhere.csv")
    with pytest.raises(LabelDataError, match=r"folds\.csv cannot be read"):
        read_folds(tmp_path / "folds.csv")
