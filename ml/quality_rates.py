"""How often the photo check is wrong: `python -m ml.quality_rates`.

Takes the thresholds of a bundle and photos that had no part in them, and prints as a Markdown
table for each defect: the share of photos as they are that is flagged (false rejects) and, for each
graded degradation, the share that is not (false accepts), with 95 % intervals over lesions.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ml.arrays import Pixels
from ml.artifact import BundleError, live_bundle, read_manifest
from ml.dataset import held_out_rows, load_images
from ml.degradation import DEGRADATIONS
from ml.folds import DEFAULT_METADATA, LabelDataError, LeakError, read_folds, read_metadata
from ml.image_source import ImageDataError
from ml.metrics import Interval, ratio_with_interval
from ml.quality import QualityThresholds, assess_quality
from ml.quality_flag import QualityFlag
from ml.train import DEFAULT_CACHE, DEFAULT_IMAGES, HELD_OUT_FOLD

AS_IT_IS = "as it is"


@dataclass(frozen=True)
class Rate:
    """A share of photos in 0..1: false rejects for those as they are, else false accepts.

    `any_flag` is the share of these photos on which the check says anything at all.
    """

    flag: QualityFlag
    step: str
    share: float
    interval: Interval
    any_flag: float


def quality_rates(
    photos: Sequence[Pixels], lesions: Sequence[str], thresholds: QualityThresholds
) -> list[Rate]:
    """The rates on good photos uint8 [h, w, 3] of these lesions, defect by defect.

    Raises:
        ValueError: there are no photos.

    """
    return list(_rates(photos, lesions, thresholds))


def _rates(
    photos: Sequence[Pixels], lesions: Sequence[str], thresholds: QualityThresholds
) -> Iterator[Rate]:
    unchanged = [assess_quality(photo, thresholds).flags for photo in photos]
    for flag in QualityFlag:
        yield _rate(flag, AS_IT_IS, [flag in flags for flags in unchanged], unchanged, lesions)
        for change in DEGRADATIONS:
            if change.flag is flag:
                flags = [assess_quality(change.of(photo), thresholds).flags for photo in photos]
                missed = [flag not in raised for raised in flags]
                yield _rate(flag, change.step, missed, flags, lesions)


def _rate(
    flag: QualityFlag,
    step: str,
    wrong: Sequence[bool],
    flags: Sequence[tuple[QualityFlag, ...]],
    lesions: Sequence[str],
) -> Rate:
    counted: NDArray[np.float64] = np.array(wrong, dtype=np.float64)
    share, interval = ratio_with_interval(counted, np.ones(len(counted)), lesions)
    if share is None or interval is None:
        raise ValueError("Without photos there are no rates.")
    return Rate(flag, step, share, interval, sum(map(bool, flags)) / len(flags))


def table(rates: Sequence[Rate]) -> str:
    """The rates as a Markdown table."""
    lines = [
        "| defect | photo | false rejects | false accepts | any flag |",
        "|---|---|---:|---:|---:|",
    ]
    for rate in rates:
        low, high = rate.interval
        words = f"{rate.share:.3f} ({low:.3f} to {high:.3f})"
        cells = f"{words} |" if rate.step == AS_IT_IS else f"| {words}"
        lines.append(f"| {rate.flag.value} | {rate.step} | {cells} | {rate.any_flag:.3f} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=Path, default=DEFAULT_IMAGES)
    parser.add_argument("--bundle", type=Path, help="folder of a bundle (default: the live one)")
    options = parser.parse_args()
    try:
        records, places = read_metadata(DEFAULT_METADATA), read_folds()
        rows = held_out_rows(records, places, fold=HELD_OUT_FOLD, half="report")
        images = load_images(records, options.images, DEFAULT_CACHE)
        manifest, _ = read_manifest(options.bundle or live_bundle())
    except (BundleError, ImageDataError, LabelDataError, LeakError, OSError) as error:
        sys.exit(f"ml.quality_rates: {error}")
    photos = [images.best(row) for row in rows]
    lesions = [records[row].lesion_id for row in rows]
    rates = quality_rates(photos, lesions, manifest.quality)
    sys.stdout.write(f"Bundle {manifest.version}, {len(photos)} photos of the half for reports\n\n")
    sys.stdout.write(table(rates) + "\n")


if __name__ == "__main__":
    main()
