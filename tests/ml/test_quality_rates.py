"""False accepts and rejects of the photo check, on drawn photos and on known flags."""

import sys
from dataclasses import replace
from itertools import groupby

import numpy as np
import pytest

from ml.degradation import DEGRADATIONS, blur, dim, flatten, lose_red, overexpose, shrink
from ml.quality import measure
from ml.quality_flag import QualityFlag
from ml.quality_rates import AS_IT_IS, main, quality_rates, table
from tests.bundles import NEVER_FLAGS

LESIONS = ("A", "A", "B", "C")


@pytest.fixture
def photos(lesion_photos):
    return list(lesion_photos[: len(LESIONS)])


def _of(rates, flag, step):
    return next(rate for rate in rates if (rate.flag, rate.step) == (flag, step))


def test_every_defect_has_graded_steps_each_worse_than_the_one_before(photos):
    changed = {
        QualityFlag.TOO_SMALL: lambda found: -found.side,
        QualityFlag.TOO_DARK: lambda found: -found.brightness,
        QualityFlag.TOO_BRIGHT: lambda found: found.brightness,
        QualityFlag.BLURRED: lambda found: -found.sharpness,
        QualityFlag.LOW_CONTRAST: lambda found: -found.contrast,
        QualityFlag.NOT_SKIN_LIKE: lambda found: -found.skin_share,
    }
    assert {step.flag for step in DEGRADATIONS} == set(QualityFlag)
    for flag, steps in groupby(DEGRADATIONS, key=lambda step: step.flag):
        grades = [step.of for step in steps]
        assert len(grades) >= 3
        for photo in photos:
            badness = [
                changed[flag](measure(one)) for one in (photo, *(of(photo) for of in grades))
            ]
            assert badness == sorted(badness), flag
            assert badness[-1] > badness[0], flag


def test_a_degradation_of_nothing_changes_nothing(photos):
    for photo in photos:
        for same in (
            dim(photo, light=1.0),
            overexpose(photo, towards_white=0.0),
            blur(photo, share=0.0),
            flatten(photo, contrast=1.0),
            shrink(photo, share=1.0),
            lose_red(photo, share=0.0),
        ):
            assert np.array_equal(same, photo)
            assert same.dtype == np.uint8


def test_a_check_that_never_flags_accepts_every_defect(photos):
    for rate in quality_rates(photos, LESIONS, NEVER_FLAGS):
        assert rate.share == (0.0 if rate.step == AS_IT_IS else 1.0)
        assert rate.any_flag == 0.0


def test_a_check_that_calls_all_dark_rejects_every_photo_and_misses_other_defects(photos):
    rates = quality_rates(photos, LESIONS, replace(NEVER_FLAGS, darkest=1.0))
    assert _of(rates, QualityFlag.TOO_DARK, AS_IT_IS).share == 1.0
    assert _of(rates, QualityFlag.TOO_DARK, "20% of the light").share == 0.0
    blurred = _of(rates, QualityFlag.BLURRED, "blur of 4.0%")
    assert (blurred.share, blurred.any_flag) == (1.0, 1.0)


def test_rates_count_photos(photos):
    """A limit between two photos rejects those that are darker."""
    brightness = sorted(measure(photo).brightness for photo in photos)
    limit = (brightness[0] + brightness[1]) / 2
    rates = quality_rates(photos, LESIONS, replace(NEVER_FLAGS, darkest=limit))
    assert _of(rates, QualityFlag.TOO_DARK, AS_IT_IS).share == 1 / len(photos)


def test_without_photos_there_are_no_rates():
    with pytest.raises(ValueError, match="Without photos"):
        quality_rates([], [], NEVER_FLAGS)


def test_the_table_puts_each_share_into_its_column(photos):
    rates = quality_rates(photos, LESIONS, replace(NEVER_FLAGS, darkest=1.0))
    lines = table(rates).splitlines()
    assert "| too_dark | as it is | 1.000 (1.000 to 1.000) | | 1.000 |" in lines
    assert "| too_dark | 20% of the light | | 0.000 (0.000 to 0.000) | 1.000 |" in lines
    assert len(lines) == 2 + len(QualityFlag) + len(DEGRADATIONS)


def test_the_command_says_which_data_it_misses(monkeypatch, tmp_path):
    missing = tmp_path / "nowhere"
    monkeypatch.setattr(sys, "argv", ["quality_rates", "--images", str(missing)])
    with pytest.raises(SystemExit, match=r"^ml\.quality_rates: .+"):
        main()
