import zipfile
from collections import Counter

import numpy as np
import pytest

from ml.dataset import (
    SHARP_CHANCE,
    LesionSampler,
    decode_images,
    group_lesions,
    held_out_rows,
    load_images,
    training_rows,
)
from ml.folds import LeakError, Place, Record
from ml.image_source import ImageDataError
from ml.labels import CLASSES
from tools.lesion_drawing import draw_lesion

RECORDS = [Record(f"ISIC_{number}", f"HAM_{number // 2}", number // 2 % 7) for number in range(4)]


def write_frames(folder, numbers, size=(200, 150)):
    folder.mkdir(parents=True, exist_ok=True)
    for number in numbers:
        draw_lesion(number, size).save(folder / f"ISIC_{number}.jpg")


@pytest.fixture
def data(tmp_path):
    """Four small frames in a folder, one sharp crop of them in a zip file beside it."""
    root = tmp_path / "data"
    write_frames(root / "part_1", range(4))
    write_frames(tmp_path / "crops", [1], size=(224, 224))
    with zipfile.ZipFile(root / "crops.zip", "w") as archive:
        archive.write(tmp_path / "crops" / "ISIC_1.jpg", "ISIC_1.jpg")
    return root


def test_folders_and_zip_files_are_read_together(data):
    images = decode_images(RECORDS, data)
    assert images.soft.shape == (4, 150, 150, 3)
    assert images.sharp.shape == (1, 224, 224, 3)
    assert images.sharp_row == (-1, 0, -1, -1)
    assert images.best(1).shape == (224, 224, 3)
    assert images.best(0).shape == (150, 150, 3)


def test_the_published_size_gives_both_a_soft_and_a_sharp_square(tmp_path):
    write_frames(tmp_path, range(4), size=(600, 450))
    images = decode_images(RECORDS, tmp_path)
    assert images.sharp_row == (0, 1, 2, 3)
    assert images.soft.shape == (4, 150, 150, 3)


def test_missing_images_are_listed_by_name(data):
    (data / "part_1" / "ISIC_2.jpg").unlink()
    (data / "part_1" / "ISIC_3.jpg").unlink()
    with pytest.raises(ImageDataError, match=r"2 images are missing .*ISIC_2, ISIC_3"):
        decode_images(RECORDS, data)


def test_unreadable_images_are_listed_by_name(data):
    (data / "part_1" / "ISIC_2.jpg").write_bytes(b"no picture")
    whole = (data / "part_1" / "ISIC_3.jpg").read_bytes()
    (data / "part_1" / "ISIC_3.jpg").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ImageDataError, match=r"2 images .*cannot be read: ISIC_2.*ISIC_3"):
        decode_images(RECORDS, data)


def test_the_cache_gives_the_same_images_and_notices_new_data(data, tmp_path):
    first = load_images(RECORDS, data, tmp_path / "cache")
    again = load_images(RECORDS, data, tmp_path / "cache")
    assert again.data_hash == first.data_hash
    assert (again.soft == first.soft).all()
    draw_lesion(99, (200, 150)).save(data / "part_1" / "ISIC_0.jpg")
    changed = load_images(RECORDS, data, tmp_path / "cache")
    assert changed.data_hash != first.data_hash
    assert (changed.soft[0] != first.soft[0]).any()


def places():
    return {
        "ISIC_0": Place("HAM_0", 0, "calibrate"),
        "ISIC_1": Place("HAM_0", 0, "calibrate"),
        "ISIC_2": Place("HAM_1", 0, "report"),
        "ISIC_3": Place("HAM_1", 1, "report"),
    }


def test_rows_are_chosen_by_fold_and_half():
    assert training_rows(RECORDS, places(), held_out=0) == [3]
    assert held_out_rows(RECORDS, places(), fold=0, half="calibrate") == [0, 1]


def test_an_image_without_a_fold_is_refused_by_name():
    some = places()
    del some["ISIC_2"]
    with pytest.raises(LeakError, match="ISIC_2"):
        training_rows(RECORDS, some, held_out=0)


class SharpOnly:
    """Stands in for Images where only the sharp rows matter."""

    def __init__(self, sharp_row):
        self.sharp_row = sharp_row


def skewed_lesions():
    """Melanomas with three images a lesion, nevi with one; four lesions in five have a sharp one.

    By image a melanoma is then sharp in 27 % and a nevus in 80 % of cases, as in the real data.
    """
    records, sharp = [], []
    for label, count, per_lesion in ((4, 60, 3), (5, 300, 1)):
        for lesion in range(count):
            for image in range(per_lesion):
                records.append(Record(f"{label}-{lesion}-{image}", f"{label}-{lesion}", label))
                sharp.append(0 if image == 0 and lesion % 5 else -1)
    return group_lesions(records, SharpOnly(tuple(sharp)), range(len(records)))


def test_sharpness_tells_nothing_about_the_class():
    """A classifier that sees only whether a view is sharp must not beat chance."""
    generator = np.random.default_rng(3)
    drawn = LesionSampler(skewed_lesions(), power=0.7, generator=generator).batch(8000)
    seen = Counter((label, sharp) for _, sharp, label in drawn)
    shares = {
        label: seen[label, True] / (seen[label, True] + seen[label, False]) for label in (4, 5)
    }
    assert shares[4] == pytest.approx(0.8 * SHARP_CHANCE, abs=0.025)
    assert shares[4] == pytest.approx(shares[5], abs=0.03)


def test_rare_classes_are_drawn_more_often_than_they_occur():
    generator = np.random.default_rng(3)
    drawn = LesionSampler(skewed_lesions(), power=0.7, generator=generator).batch(4000)
    share = sum(label == 4 for _, _, label in drawn) / 4000
    expected = 60**0.3 / (60**0.3 + 300**0.3)
    assert share == pytest.approx(expected, abs=0.03)


def test_each_lesion_of_a_class_comes_once_before_any_comes_again():
    lesions = [lesion for lesion in skewed_lesions() if lesion.label == 4]
    sampler = LesionSampler(lesions, power=0.0, generator=np.random.default_rng(1))
    rows = {lesion_row: lesion.lesion_id for lesion in lesions for lesion_row in lesion.rows}
    assert len({rows[row] for row, _, _ in sampler.batch(60)}) == 60


def test_a_class_without_lesions_is_never_drawn():
    sampler = LesionSampler(skewed_lesions(), power=1.0, generator=np.random.default_rng(1))
    assert {CLASSES[label] for _, _, label in sampler.batch(500)} == {"mel", "nv"}
