"""The ensemble as the worker uses it: pixels in, prediction, heat-map and triage out."""

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ml.artifact import live_bundle, load_bundle
from ml.ensemble import Ensemble
from ml.gradcam import overlay_rgba
from ml.triage import Triage, triage, triage_without_ai
from worker.screen_submission import Analysis

Pixels = NDArray[np.uint8]
WARM_UP_SIDE = 600


@dataclass(frozen=True)
class EnsembleAnalyst:
    ensemble: Ensemble

    @classmethod
    def load(cls, weights: Path) -> "EnsembleAnalyst":
        """Load the live bundle of `weights` and analyse one empty picture, so that it is warm.

        Raises:
            BundleError: a file is missing, damaged or not the one that the manifest names.

        """
        analyst = cls(Ensemble.load(live_bundle(weights)))
        analyst.analyse(np.full((WARM_UP_SIDE, WARM_UP_SIDE, 3), 128, np.uint8))
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

    def analyse(self, pixels: Pixels) -> Analysis:
        (found,) = self.ensemble.analyse([pixels])
        return Analysis(
            prediction=found.prediction,
            explained_class=found.explained_class,
            quality_flags=found.quality.flags,
            heatmap_png=_png(overlay_rgba(found.heatmap)),
        )

    def triage(self, analysis: Analysis | None, *, score: int, strong_concern: bool) -> Triage:
        """The urgency of a case; without an analysis the patient has refused the computer."""
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
        )


def _png(rgba: Pixels) -> bytes:
    out = io.BytesIO()
    Image.fromarray(rgba).save(out, "PNG", optimize=False, compress_level=4)
    return out.getvalue()
