"""The ensemble as the worker uses it: pixels in, prediction, heat-map and triage out."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from ml.artifact import live_bundle, load_bundle
from ml.engine import DeviceLostError
from ml.engine_choice import Device
from ml.ensemble import Ensemble
from ml.gradcam import overlay_png
from ml.triage import Triage, triage, triage_without_ai
from worker.analysis import Analysis, ClassMap, Pixels

WARM_UP_SIDE = 600
MAKESHIFT = ", for want of a GPU"


@dataclass(frozen=True)
class EnsembleAnalyst:
    """`device` says where it runs, and that this is a makeshift if it is one."""

    ensemble: Ensemble
    device: str

    @classmethod
    def load(cls, weights: Path, *, device: Device = "auto") -> "EnsembleAnalyst":
        """Load the live bundle of `weights` and analyse one empty picture, so that it is warm.

        Without the accelerator that was wanted it works on the processor, and says so.

        Raises:
            BundleError: a file is missing, damaged or not the one that the manifest names.

        """
        folder = live_bundle(weights)
        try:
            ensemble = Ensemble.load(folder, device=device)
            analyst = cls(ensemble, ensemble.device)
        except DeviceLostError:
            ensemble = Ensemble.load(folder, device="cpu")
            analyst = cls(ensemble, f"{ensemble.device}{MAKESHIFT}")
        analyst.analyse([np.full((WARM_UP_SIDE, WARM_UP_SIDE, 3), 128, np.uint8)])
        return analyst

    @staticmethod
    def check(weights: Path) -> None:
        """Raise BundleError if the live bundle cannot be used."""
        load_bundle(live_bundle(weights))

    @property
    def version(self) -> str:
        return self.ensemble.manifest.version

    @property
    def fingerprint(self) -> str:
        return self.ensemble.fingerprint

    @property
    def engine(self) -> str:
        return self.ensemble.engine

    @property
    def batch_size(self) -> int:
        return self.ensemble.batch_size

    def analyse(self, photos: Sequence[Pixels]) -> list[Analysis]:
        return [
            Analysis(
                prediction=found.prediction,
                maps=tuple(
                    ClassMap(one.label, one.focus, overlay_png(one.heatmap)) for one in found.maps
                ),
                quality_flags=found.quality.flags,
                quality_measures=asdict(found.quality.measures),
            )
            for found in self.ensemble.analyse(photos)
        ]

    def triage(
        self,
        analysis: Analysis | None,
        *,
        score: int,
        strong_concern: bool,
        tone_doubt: str | None,
    ) -> Triage:
        """The urgency of a case; without an analysis the patient has refused the computer.

        `tone_doubt` says why the skin's tone is outside the evidence, if it is.
        """
        if analysis is None:
            return triage_without_ai(
                "the patient refused it", seven_point_score=score, strong_concern=strong_concern
            )
        return triage(
            analysis.prediction,
            self.ensemble.policy,
            quality_flags=analysis.quality_flags,
            seven_point_score=score,
            strong_concern=strong_concern,
            tone_doubt=tone_doubt,
        )
