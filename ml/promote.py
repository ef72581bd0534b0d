"""Put a bundle in service: `python -m ml.promote VERSION`; the former one: `... --rollback`.

A candidate must hold every figure of the live bundle (ml/promotion.py) on photos that neither was
trained or tuned on: the reporting half of the held-out fold. There is no way around the rule.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import numpy as np

from ml.artifact import (
    LIVE_FILE,
    MANIFEST_FILE,
    WEIGHTS,
    BundleError,
    live_bundle,
    load_bundle,
    read_manifest,
)
from ml.dataset import held_out_rows, load_images
from ml.ensemble import Ensemble
from ml.folds import DEFAULT_METADATA, LabelDataError, LeakError, read_folds, read_metadata
from ml.image_source import ImageDataError
from ml.labels import CLASS_INDEX
from ml.live_history import Change, Served, Step, append_step, pile, read_history
from ml.out_of_fold import Held
from ml.outcomes import analyse_cases
from ml.promotion import Answers, Comparison, Truth, compare
from ml.subgroups import read_subgroups
from ml.train import DEFAULT_CACHE, DEFAULT_IMAGES, HELD_OUT_FOLD
from ml.triage import Urgency

_ROW: Final = "{:<46} {:>6} {:>6} {:>9}  {:<16}  {}"


class PromotionError(Exception):
    """LIVE stays as it is; the message says why and what to do."""


@dataclass(frozen=True)
class HeldOut:
    """Photos that no bundle learned from, with the groups of each (see ml/subgroups.py)."""

    held: Held
    subgroups: Sequence[dict[str, str]]

    @property
    def truth(self) -> Truth:
        lesions = [case.group for case in self.held.cases]
        return Truth(labels=self.held.labels, lesions=lesions, subgroups=self.subgroups)


def promote(weights: Path, version: str, held_out: Callable[[], HeldOut]) -> Step:
    """Make `version` live. The first bundle of all has nothing to be compared with.

    Raises:
        PromotionError: it is unknown, live already, or worse than the live bundle.
        BundleError: it or the live bundle is damaged.

    """
    folder = _candidate(weights, version)
    load_bundle(folder)
    before = _live(weights)
    if before is not None and before.version == version:
        raise PromotionError(f"{version} is live already")
    figures = [] if before is None else _compared(live_bundle(weights), folder, held_out())
    fallen = [each.what for each in figures if each.fallen]
    if fallen:
        raise PromotionError(
            f"{version} is refused: below the live bundle in {'; '.join(fallen)}. "
            f"{live_bundle(weights).name} stays live; train or calibrate a better candidate"
        )
    return _put_in_service(weights, Change.PROMOTED, before, _served(folder), figures)


def roll_back(weights: Path) -> Step:
    """Make the bundle live again that served before the present one.

    Raises:
        PromotionError: none is known, or its manifest is not the one that served.
        BundleError: a file is missing or damaged.

    """
    live = live_bundle(weights).name
    served = pile(read_history(weights), live)
    if len(served) < 2:
        raise PromotionError(f"nothing is known to have served before {live}")
    after, before = served[-2:]
    folder = weights / after.version
    load_bundle(folder)
    if _served(folder) != after:
        raise PromotionError(f"{folder / MANIFEST_FILE} is not the one that served: restore it")
    return _put_in_service(weights, Change.ROLLED_BACK, before, after, [])


def _candidate(weights: Path, version: str) -> Path:
    known = sorted(path.parent.name for path in weights.glob(f"*/{MANIFEST_FILE}"))
    if version not in known:
        raise PromotionError(f"no bundle {version!r} in {weights}; there are: {', '.join(known)}")
    return weights / version


def _served(folder: Path) -> Served:
    return Served(folder.name, read_manifest(folder)[1])


def _live(weights: Path) -> Served | None:
    return _served(live_bundle(weights)) if (weights / LIVE_FILE).exists() else None


def _put_in_service(
    weights: Path,
    change: Change,
    before: Served | None,
    after: Served,
    figures: Sequence[Comparison],
) -> Step:
    """Write HISTORY, then LIVE: beside, read back as the service will, and renamed."""
    step = Step(
        time=datetime.now(UTC).isoformat(timespec="seconds"),
        change=change,
        before=before,
        after=after,
        figures=[asdict(figure) for figure in figures],
    )
    with TemporaryDirectory(dir=weights) as beside:
        pointer = Path(beside) / LIVE_FILE
        pointer.write_text(f"{after.version}\n", encoding="utf-8")
        live_bundle(Path(beside))
        append_step(weights, step)
        pointer.replace(weights / LIVE_FILE)
    return step


def _compared(live: Path, candidate: Path, held_out: HeldOut) -> list[Comparison]:
    answers = [_answers(Ensemble.load(folder), held_out.held) for folder in (live, candidate)]
    figures = compare(held_out.truth, *answers)
    print(_ROW.format("", "photos", "live", "candidate", "difference", ""))
    for each in figures:
        interval = f"{each.low:+.3f} to {each.high:+.3f}"
        shares = (f"{each.live:.3f}", f"{each.candidate:.3f}")
        verdict = "fallen" if each.fallen else "holds"
        print(_ROW.format(each.what, each.photos, *shares, interval, verdict))
    return figures


def _answers(ensemble: Ensemble, held: Held) -> Answers:
    outcomes = list(analyse_cases(ensemble, held.cases, held.photos))
    return Answers(
        predicted=np.array([CLASS_INDEX[each.prediction.answer] for each in outcomes]),
        found=np.array([each.triage.urgency is not Urgency.ROUTINE for each in outcomes]),
    )


def read_held_out(*, images: Path, metadata: Path, cache: Path) -> HeldOut:
    """Every image of the lesions in the reporting half, in its sharpest version."""
    records = read_metadata(metadata)
    subgroups = read_subgroups(metadata)
    decoded = load_images(records, images, cache)
    rows = held_out_rows(records, read_folds(), fold=HELD_OUT_FOLD, half="report")
    held = Held.of(records, decoded, rows)
    return HeldOut(held, [subgroups[case.image_id] for case in held.cases])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("version", nargs="?", help="the candidate's folder beside LIVE")
    what.add_argument("--rollback", action="store_true", help="make the former bundle live again")
    parser.add_argument("--weights", type=Path, default=WEIGHTS)
    parser.add_argument("--images", type=Path, default=DEFAULT_IMAGES)
    parser.add_argument("--metadata", type=Path, default=DEFAULT_METADATA)
    parser.add_argument("--cache", type=Path, default=DEFAULT_CACHE)
    options = parser.parse_args()

    def held_out() -> HeldOut:
        return read_held_out(images=options.images, metadata=options.metadata, cache=options.cache)

    try:
        if options.rollback:
            step = roll_back(options.weights)
        else:
            step = promote(options.weights, options.version, held_out)
    except (
        PromotionError,
        BundleError,
        ImageDataError,
        LabelDataError,
        LeakError,
        OSError,
    ) as error:
        sys.exit(f"ml.promote: {error}")
    print(f"{step.after.version} is live ({step.change}); running programs load it when restarted")


if __name__ == "__main__":
    main()
