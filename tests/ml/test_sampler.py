from collections import Counter

import numpy as np
import pytest

from ml.folds import DEFAULT_METADATA, FOLDS, LabelDataError, Record, read_folds, read_metadata
from ml.image_source import find_images
from ml.labels import CLASSES
from ml.sampler import (
    SHARP_CHANCE,
    LesionSampler,
    class_by_source,
    group_lesions,
)

HAM10000 = DEFAULT_METADATA.parent
DRAWS = 40_000


class SharpOnly:
    """Stands in for Images where only the sharp rows matter."""

    def __init__(self, sharp_row):
        self.sharp_row = sharp_row


def skewed_lesions():
    """Melanomas with three images a lesion, nevi with one, and unlike shares of sharp lesions.

    By image a melanoma is sharp in 20 % and a nevus in 80 % of cases.
    """
    records, sharp = [], []
    for label, count, per_lesion, soft_every in ((4, 60, 3, 3), (5, 300, 1, 5)):
        for lesion in range(count):
            for image in range(per_lesion):
                records.append(Record(f"{label}-{lesion}-{image}", f"{label}-{lesion}", label))
                sharp.append(0 if image == 0 and lesion % soft_every else -1)
    return group_lesions(records, SharpOnly(tuple(sharp)), range(len(records)))


def sampler(lesions, *, power=0.7, seed=3):
    return LesionSampler(lesions, power=power, generator=np.random.default_rng(seed))


def balanced_accuracy_of_the_source_bit(labels, sharp):
    """Fit the best guess of the class for sharp and for soft views, judged on the other half."""
    present = np.unique(labels)
    half = len(labels) // 2
    rates = {
        label: [np.mean(sharp[:half][labels[:half] == label] == bit) for bit in (False, True)]
        for label in present
    }
    guess = [max(present, key=lambda label: rates[label][bit]) for bit in (0, 1)]
    guessed = np.where(sharp[half:], guess[1], guess[0])
    hits = [np.mean(guessed[labels[half:] == label] == label) for label in present]
    return np.mean(hits), 1.0 / len(present)


def test_sharpness_alone_does_not_beat_chance_on_the_class():
    drawn = sampler(skewed_lesions()).draw(DRAWS)
    found, chance = balanced_accuracy_of_the_source_bit(drawn.labels, drawn.sharp)
    assert found == pytest.approx(chance, abs=0.02)
    assert drawn.sharp.mean() == pytest.approx(SHARP_CHANCE * 2 / 3, abs=0.02)


def test_the_bit_would_beat_chance_if_images_were_drawn_alike():
    """The yardstick of the test above notices the trap that the sampler avoids."""
    lesions = skewed_lesions()
    labels = np.array([lesion.label for lesion in lesions for _ in lesion.rows])
    sharp = np.array([row in lesion.sharp for lesion in lesions for row in lesion.rows])
    order = np.random.default_rng(1).permutation(len(labels))
    found, chance = balanced_accuracy_of_the_source_bit(labels[order], sharp[order])
    assert found > chance + 0.15


@pytest.mark.parametrize("held_out", range(FOLDS))
def test_sharpness_tells_nothing_in_any_of_the_real_folds(held_out):
    if not HAM10000.exists():
        return
    places = read_folds()
    records = read_metadata(DEFAULT_METADATA)
    sharp = find_images(HAM10000 / "crops_224x224.zip")
    images = SharpOnly(tuple(0 if record.image_id in sharp else -1 for record in records))
    rows = [row for row, one in enumerate(records) if places[one.image_id].fold != held_out]
    drawn = sampler(group_lesions(records, images, rows)).draw(DRAWS)
    found, chance = balanced_accuracy_of_the_source_bit(drawn.labels, drawn.sharp)
    assert found == pytest.approx(chance, abs=0.012)


def test_a_view_shows_an_image_of_its_lesion_and_a_sharp_view_one_that_is_sharp():
    lesions = skewed_lesions()
    of_row = {row: lesion for lesion in lesions for row in lesion.rows}
    drawn = sampler(lesions).draw(2000)
    seen = set()
    for row, sharp, label in zip(drawn.rows, drawn.sharp, drawn.labels, strict=True):
        assert of_row[row].label == label
        assert not sharp or row in of_row[row].sharp
        seen.add(row)
    assert len(seen) > 0.9 * len(of_row)


def test_rare_classes_are_drawn_more_often_than_they_occur():
    share = (sampler(skewed_lesions()).draw(DRAWS).labels == 4).mean()
    assert share == pytest.approx(60**0.3 / (60**0.3 + 300**0.3), abs=0.01)


def test_each_lesion_of_a_class_comes_once_before_any_comes_again():
    lesions = [lesion for lesion in skewed_lesions() if lesion.label == 4]
    of_row = {row: lesion.lesion_id for lesion in lesions for row in lesion.rows}
    draws = sampler(lesions, power=0.0)
    times = Counter(of_row[row] for count in (25, 35, 60) for row in draws.draw(count).rows)
    assert set(times.values()) == {2}


def test_a_class_without_lesions_is_never_drawn():
    labels = sampler(skewed_lesions(), power=1.0).draw(500).labels
    assert {CLASSES[label] for label in labels} == {"mel", "nv"}


def test_a_lesion_with_two_diagnoses_is_refused_by_name():
    records = [Record("A", "L1", 4), Record("B", "L1", 5)]
    with pytest.raises(LabelDataError, match="two diagnoses: L1"):
        group_lesions(records, SharpOnly((-1, -1)), range(2))


def test_class_by_source_counts_sharp_and_added_lesions():
    records = [Record("A", "L1", 4), Record("B", "L2", 4), Record("C", "N1", 4)]
    lesions = group_lesions(records, SharpOnly((0, -1, 1)), range(3))
    assert "mel 2/3 = 0.67 (1 added)" in class_by_source(lesions, first_added=2)
    assert "nv 0/0 = 0.00," in class_by_source(lesions, first_added=2)
