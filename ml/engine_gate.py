"""May a cheaper arithmetic serve? Judges it on held-out photos: `python -m ml.engine_gate`.

It may when balanced accuracy falls by half a point at most against single precision and the
triage finds no melanoma less. The choosing half of the held-out fold decides; the other half stays
closed, as its figures are to be reported. Of the candidates that pass, the one serves that takes
the least time of the processor. The verdict is kept in engine_gate.json, by bundle; files of 8 bits
that serve are copied into the bundle's folder.
"""

import argparse
import json
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

from ml.arithmetic import FOLDER, Arithmetic, Precision, hashes_of
from ml.arrays import Pixels
from ml.artifact import live_bundle, load_bundle, read_manifest
from ml.combine import combine
from ml.dataset import decode_images, held_out_rows
from ml.engine import CPU_BATCH, MemberPass
from ml.engine_choice import GATE_FILE, permitted
from ml.engine_openvino import OpenVinoEngine, computes_in
from ml.folds import DEFAULT_METADATA, Half, read_folds, read_metadata
from ml.forward import Members
from ml.labels import CLASS_INDEX
from ml.members import MemberConfig
from ml.metrics import recalls
from ml.out_of_fold import Held
from ml.outcomes import Outcome, outcome_of
from ml.prepared import prepare
from ml.quality import quality_of
from ml.train import DEFAULT_IMAGES, HELD_OUT_FOLD
from ml.triage import Urgency

MAY_FALL: Final = 0.005
QUANTISED: Final = Path("runs/int8")
CANDIDATES: Final[tuple[Mapping[str, Precision], ...]] = (
    {"efficientnet_b0": "bf16", "inception_v3": "bf16", "basic_cnn": "bf16"},
    {"inception_v3": "bf16", "basic_cnn": "bf16"},
    {"inception_v3": "int8"},
    {"inception_v3": "int8", "basic_cnn": "int8"},
    {"efficientnet_b0": "int8", "inception_v3": "int8", "basic_cnn": "int8"},
)


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


@dataclass(frozen=True)
class Run:
    """Outcomes of one arithmetic, and the processor's time of its networks a photo."""

    outcomes: Sequence[Outcome]
    processor_milliseconds: float


@dataclass(frozen=True)
class _Timed:
    """One member over all photos."""

    answers: MemberPass
    processor_milliseconds: float


@dataclass(frozen=True)
class _Recorded:
    """An engine that was run before: it answers with the passes of all photos."""

    passes: list[MemberPass]
    name: str = "recorded"
    device: str = "cpu"
    batch_size: int = CPU_BATCH

    def run(self, _squares: Sequence[Pixels]) -> list[MemberPass]:
        return self.passes


class Judge:
    """The photos, prepared once; each member runs once in each precision, whatever combines it."""

    def __init__(self, folder: Path, held: Held, quantised: Path) -> None:
        self.bundle = load_bundle(folder)
        self._configs = [entry.config for entry in self.bundle.manifest.members]
        self._held = held
        self._quantised = quantised
        sides = {config.input_size for config in self._configs}
        prepared = [prepare(photo, sides) for photo in held.photos]
        self._squares = {
            side: np.stack([each.squares[side] for each in prepared]) for side in sides
        }
        self._appearances = np.stack([each.appearance for each in prepared])
        quality = self.bundle.manifest.quality
        self._flags = [quality_of(each.measures, quality).flags for each in prepared]
        self._member = cache(self._timed)

    def arithmetic(self, precisions: Mapping[str, Precision]) -> Arithmetic:
        """With the hashes of the files of 8 bits, of this bundle's members only."""
        own = {
            config.name: precisions[config.name]
            for config in self._configs
            if config.name in precisions
        }
        in_8_bits = Arithmetic(precisions=own).in_8_bits
        return Arithmetic(
            precisions=own,
            sha256=hashes_of(self._quantised, in_8_bits),
            folder=self._quantised,
        )

    def run(self, precisions: Mapping[str, Precision]) -> Run:
        members = [
            self._member(config, precisions.get(config.name, "f32")) for config in self._configs
        ]
        manifest = self.bundle.manifest
        engine = _Recorded([member.answers for member in members])
        answers = Members(engine, self._configs).forward_squares(self._squares)
        scores = self.bundle.outlier.scores(answers.pooled, self._appearances)
        predictions = combine(answers.probabilities, scores, manifest.rule)
        return Run(
            [
                outcome_of(case, prediction, flags, manifest.policy)
                for case, prediction, flags in zip(
                    self._held.cases, predictions, self._flags, strict=True
                )
            ],
            sum(member.processor_milliseconds for member in members),
        )

    def _timed(self, config: MemberConfig, precision: Precision) -> _Timed:
        engine = OpenVinoEngine.of(
            [self.bundle.members[config.name]],
            [config],
            arithmetic=self.arithmetic({config.name: precision}),
            cores=torch.get_num_threads(),
        )
        squares = self._squares[config.input_size]
        start = time.process_time()
        parts = [
            engine.run([squares[row : row + CPU_BATCH]])[0]
            for row in range(0, len(squares), CPU_BATCH)
        ]
        taken = time.process_time() - start
        return _Timed(MemberPass.joined(parts), 1e3 * taken / len(squares))


def verdict_of(precisions: Mapping[str, Precision], candidate: Run, single: Run) -> dict[str, Any]:
    """Figures of a candidate beside single precision on the same photos."""
    cheaper = judged(candidate.outcomes)
    pairs = list(zip(single.outcomes, candidate.outcomes, strict=True))
    return {
        "precisions": dict(precisions),
        **asdict(cheaper),
        "largest_shift_of_a_probability": max(
            abs(one.prediction.probabilities[name] - other.prediction.probabilities[name])
            for one, other in pairs
            for name in CLASS_INDEX
        ),
        "other_answers": sum(one.prediction.answer != it.prediction.answer for one, it in pairs),
        "other_urgencies": sum(one.triage.urgency != it.triage.urgency for one, it in pairs),
        "processor_milliseconds": round(candidate.processor_milliseconds, 1),
        "may_serve": may_serve(cheaper, judged(single.outcomes)),
    }


def fastest(verdicts: Sequence[Mapping[str, Any]], single_milliseconds: float) -> Any:
    """Precisions of the candidate that serves: none if nothing that passes is faster than f32."""
    passed = [
        verdict
        for verdict in verdicts
        if verdict["may_serve"] and verdict["processor_milliseconds"] < single_milliseconds
    ]
    best = min(passed, key=lambda verdict: verdict["processor_milliseconds"], default=None)
    return best["precisions"] if best else {}


def compare(
    folder: Path,
    held: Held,
    quantised: Path,
    candidates: Sequence[Mapping[str, Precision]] = CANDIDATES,
) -> dict[str, Any]:
    """Figures of single precision and of the candidates on the same photos, and what serves."""
    judge = Judge(folder, held, quantised)
    single = judge.run({})
    verdicts = [verdict_of(precisions, judge.run(precisions), single) for precisions in candidates]
    serves = judge.arithmetic(fastest(verdicts, single.processor_milliseconds))
    return {
        "bundle": folder.name,
        "photos": len(held.cases),
        "f32": {
            **asdict(judged(single.outcomes)),
            "processor_milliseconds": round(single.processor_milliseconds, 1),
        },
        "candidates": verdicts,
        "serves": {"precisions": dict(serves.precisions), "sha256": dict(serves.sha256)},
    }


def reported(folder: Path, held: Held) -> dict[str, Any]:
    """Figures of what serves beside single precision, on photos that decided nothing."""
    serves = permitted(load_bundle(folder))
    judge = Judge(folder, held, serves.folder)
    single, served = judge.run({}), judge.run(serves.precisions)
    return {
        "photos": len(held.cases),
        "f32": asdict(judged(single.outcomes)),
        "serves": {"precisions": dict(serves.precisions), **asdict(judged(served.outcomes))},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bundle", type=Path, help="folder of a bundle (default: the live one)")
    parser.add_argument("--images", type=Path, default=DEFAULT_IMAGES)
    parser.add_argument("--metadata", type=Path, default=DEFAULT_METADATA)
    parser.add_argument("--quantised", type=Path, default=QUANTISED, help="by tools.quantise")
    parser.add_argument(
        "--report",
        action="store_true",
        help="print what serves on the half for reports; no verdict",
    )
    options = parser.parse_args()
    if not computes_in(("bf16", "int8")):
        sys.exit("ml.engine_gate: this processor does not compute in bf16 and in 8 bits")
    folder = options.bundle or live_bundle()
    _, fingerprint = read_manifest(folder)
    records = read_metadata(options.metadata)
    half: Half = "report" if options.report else "calibrate"
    rows = held_out_rows(records, read_folds(), fold=HELD_OUT_FOLD, half=half)
    chosen = [records[row] for row in rows]
    held = Held.of(chosen, decode_images(chosen, options.images), range(len(chosen)))
    if options.report:
        print(json.dumps(reported(folder, held), indent=2))
        return
    verdict = compare(folder, held, options.quantised)
    print(json.dumps(verdict, indent=2))
    known = json.loads(GATE_FILE.read_text(encoding="utf-8"))
    text = json.dumps({**known, fingerprint: verdict}, indent=2) + "\n"
    for file in verdict["serves"]["sha256"]:
        (folder / FOLDER).mkdir(exist_ok=True)
        shutil.copyfile(options.quantised / file, folder / FOLDER / file)
    GATE_FILE.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
