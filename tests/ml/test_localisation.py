import numpy as np
import pytest

from ml.labels import CLASSES
from ml.localisation import (
    MEASURES,
    centred_gaussian,
    energy_in_mask,
    iou_of_top,
    localise,
    pointing_hit,
)
from ml.metrics import ratio_with_interval

SIDE = 20


def corner_masks(count=1, side=8):
    """A square lesion in the upper left corner; with side 8 its share of the area is 0.16."""
    masks = np.zeros((count, SIDE, SIDE), dtype=bool)
    masks[:, :side, :side] = True
    return masks


def with_peak(row, column):
    maps = np.zeros((1, SIDE, SIDE), np.float32)
    maps[0, row, column] = 0.7
    return maps


@pytest.fixture
def random_case():
    generator = np.random.default_rng(5)
    maps = generator.random((120, SIDE, SIDE)).astype(np.float32)
    masks = np.zeros((120, SIDE, SIDE), dtype=bool)
    for mask in masks:
        top, left = generator.integers(0, 12, 2)
        mask[top : top + generator.integers(2, 9), left : left + generator.integers(2, 9)] = True
    labels = np.arange(120) % 3
    return maps, masks, labels, [f"lesion {number // 2}" for number in range(120)]


def test_a_peak_hits_only_inside_the_mask():
    assert pointing_hit(with_peak(3, 3), corner_masks())[0] == 1.0
    assert pointing_hit(with_peak(3, 12), corner_masks())[0] == 0.0


def test_several_equal_peaks_hit_by_their_share():
    maps = with_peak(3, 3) + with_peak(3, 12)
    assert pointing_hit(maps, corner_masks())[0] == 0.5


def test_energy_is_the_share_of_the_sum_and_counts_all_of_the_map():
    maps = with_peak(3, 3) + 2.0 * with_peak(15, 15)
    assert energy_in_mask(maps, corner_masks())[0] == pytest.approx(1.0 / 3.0)


def test_a_map_that_is_the_mask_of_a_fifth_of_the_area_has_an_iou_of_one():
    masks = np.zeros((1, SIDE, SIDE), dtype=bool)
    masks[0, :4] = True
    assert iou_of_top(masks.astype(np.float32), masks)[0] == pytest.approx(1.0)
    assert iou_of_top((~masks).astype(np.float32), masks)[0] == 0.0


def test_the_top_is_a_fifth_even_of_a_map_with_less_evidence():
    """The peak is one of 400 cells; the other 79 are spread evenly over the rest."""
    common = 1 + 79 * 63 / 399
    assert iou_of_top(with_peak(3, 3), corner_masks())[0] == pytest.approx(
        common / (80 + 64 - common)
    )


def test_an_empty_map_scores_as_the_area_of_the_mask_and_is_counted():
    maps = np.zeros((3, SIDE, SIDE), np.float32)
    maps[2] = with_peak(3, 3)[0]
    found = localise(maps, corner_masks(3), np.array([0, 0, 1]), ["a", "b", "c"])
    assert found["empty_maps"] == 2
    empty = found["by_class"][CLASSES[0]]
    assert empty["empty_maps"] == 2
    assert empty["pointing_hit"]["value"] == pytest.approx(0.16)
    assert empty["energy_in_mask"]["value"] == pytest.approx(0.16)
    assert empty["iou_top_20"]["value"] == pytest.approx(0.2 * 0.16 / (0.36 - 0.2 * 0.16))
    assert all(empty[name]["lift_area"] == pytest.approx(1.0) for name in MEASURES)


def test_maps_that_know_nothing_lift_nothing(random_case):
    found = localise(*random_case)
    for name in ("pointing_hit", "energy_in_mask"):
        low, high = found[name]["lift_area_interval"]
        assert low < 1.0 < high


@pytest.mark.parametrize("measure", MEASURES.values())
def test_no_measure_depends_on_the_scale_of_the_map(measure, random_case):
    maps, masks, *_ = random_case
    assert measure(maps * 0.01, masks) == pytest.approx(measure(maps, masks), abs=1e-2)


def test_a_centred_map_beats_the_area_on_centred_lesions_but_not_the_gaussian():
    masks = np.zeros((4, SIDE, SIDE), dtype=bool)
    masks[:, 6:14, 6:14] = True
    maps = np.stack([centred_gaussian(SIDE)] * 4)
    energy = localise(maps, masks, np.zeros(4, int), list("abcd"))["energy_in_mask"]
    assert energy["lift_area"] > 1.5
    assert energy["lift_gaussian"] == pytest.approx(1.0)
    assert energy["chance_area"] == pytest.approx(0.16)


def test_the_gaussian_is_symmetric_and_falls_to_a_known_share_at_one_deviation():
    gaussian = centred_gaussian(200)
    assert (gaussian == gaussian[::-1, ::-1]).all()
    assert gaussian[100, 150] == pytest.approx(np.exp(-0.5), abs=0.01)


def test_classes_that_do_not_occur_are_left_out_and_the_others_add_up(random_case):
    found = localise(*random_case)
    assert list(found["by_class"]) == list(CLASSES[:3])
    assert sum(each["n"] for each in found["by_class"].values()) == found["n"] == 120


def test_a_lift_over_no_chance_at_all_is_none():
    """The Gaussian's peak is in the middle, which a lesion in the corner does not reach."""
    found = localise(with_peak(3, 3), corner_masks(), np.array([0]), ["a"])
    assert found["pointing_hit"]["chance_gaussian"] == 0.0
    assert found["pointing_hit"]["lift_gaussian"] is None
    assert found["pointing_hit"]["lift_area"] == pytest.approx(1.0 / 0.16)


def test_an_interval_is_drawn_over_lesions():
    generator = np.random.default_rng(1)
    part, whole = generator.random(80), generator.random(80) + 0.5
    names = [str(number) for number in range(80)]
    value, (low, high) = ratio_with_interval(part, whole, names)
    assert value == pytest.approx(part.sum() / whole.sum())
    assert low < value < high
    copies = np.repeat(part, 4), np.repeat(whole, 4)
    _, of_lesions = ratio_with_interval(*copies, [name for name in names for _ in range(4)])
    _, of_images = ratio_with_interval(*copies, [str(number) for number in range(320)])
    assert of_lesions[1] - of_lesions[0] > 1.5 * (of_images[1] - of_images[0])
