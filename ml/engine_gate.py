"""May a cheaper arithmetic serve? Judges it on held-out photos: `python -m ml.engine_gate`.

It may when balanced accuracy falls by half a point at most against single precision and the
triage finds no melanoma less. The choosing half of the held-out fold decides; the other half stays
closed, as its figures are to be reported. The verdict is kept in engine_gate.json, by bundle.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, get_args

import numpy as np

from ml.artifact import live_bundle, read_manifest
from ml.dataset import decode_images, held_out_rows
from ml.engine_choice import GATE_FILE
from ml.engine_openvino import Precision, computes_in_bf16
from ml.ensemble import Ensemble
from ml.folds import DEFAULT_METADATA, read_folds, read_metadata
from ml.labels import CLASS_INDEX
from ml.metrics import recalls
from ml.out_of_fold import Held
from ml.outcomes import Outcome, analyse_cases
from ml.train import DEFAULT_IMAGES, HELD_OUT_FOLD
from ml.triage import Urgency

MAY_FALL: Final = 0.005


@dataclass(frozen=True, kw_only=True)
class Judged:
    """What an engine reaches on labelled photos."""

    bma: float
    melanoma_sensitivity: float


def judged(outcomes: Sequence[Outcome]) -> Judged:
    """Balanced accuracy of the answers; melanomas whose case is not routine."""
    labels = np.array([each.case.label for each in outcomes])
    answers = np.array([CLASS_INDEX[each.prediction.answer] for each in outcomes])
    found = np.array([each.triage.urgency is not Urgency.ROUTINE for each in outcomes])
    return Judged(
        bma=float(recalls(answers, labels).mean()),
        melanoma_sensitivity=float(found[labels == CLASS_INDEX["mel"]].mean()),
    )


def may_serve(cheaper: Judged, reference: Judged) -> bool:
    return (
        cheaper.bma >= reference.bma - MAY_FALL
        and cheaper.melanoma_sensitivity >= reference.melanoma_sensitivity
    )


def compare(folder: Path, held: Held) -> dict[str, Any]:
    """Figures of single and of half precision on the same photos, and the verdict."""
    single, half = (
        list(
            analyse_cases(
                Ensemble.load(folder, device="cpu", precision=precision), held.cases, held.photos
            )
        )
        for precision in get_args(Precision)
    )
    reference, cheaper = judged(single), judged(half)
    pairs = list(zip(single, half, strict=True))
    shifts = [
        abs(one.prediction.probabilities[name] - other.prediction.probabilities[name])
        for one, other in pairs
        for name in CLASS_INDEX
    ]
    return {
        "bundle": folder.name,
        "photos": len(held.cases),
        "f32": asdict(reference),
        "bf16": asdict(cheaper),
        "largest_shift_of_a_probability": max(shifts),
        "other_answers": sum(one.prediction.answer != it.prediction.answer for one, it in pairs),
        "other_urgencies": sum(one.triage.urgency != it.triage.urgency for one, it in pairs),
        "may_serve": may_serve(cheaper, reference),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bundle", type=Path, help="folder of a bundle (default: the live one)")
    parser.add_argument("--images", type=Path, default=DEFAULT_IMAGES)
    parser.add_argument("--metadata", type=Path, default=DEFAULT_METADATA)
    options = parser.parse_args()
    if not computes_in_bf16():
        sys.exit("ml.engine_gate: this processor does not compute in bf16")
    folder = options.bundle or live_bundle()
    _, fingerprint = read_manifest(folder)
    records = read_metadata(options.metadata)
    rows = held_out_rows(records, read_folds(), fold=HELD_OUT_FOLD, half="calibrate")
    chosen = [records[row] for row in rows]
    held = Held.of(chosen, decode_images(chosen, options.images), range(len(chosen)))
    verdict = compare(folder, held)
    print(json.dumps(verdict, indent=2))
    known = json.loads(GATE_FILE.read_text(encoding="utf-8"))
    text = json.dumps({**known, fingerprint: verdict}, indent=2) + "\n"
    GATE_FILE.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
