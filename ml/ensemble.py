"""The ensemble in service: photos in, calibrated probabilities and one heat-map each out."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

import numpy as np
import torch
from torch import Tensor

from ml.arrays import Floats, HeatMap, Pixels
from ml.artifact import Bundle, load_bundle
from ml.calibration import apply_temperature, mean_of_members
from ml.forward import Members
from ml.gradcam import evidence, on_photo, raw_cam
from ml.labels import CLASSES
from ml.prediction import ByClass, Prediction
from ml.quality import Quality, assess_quality
from ml.triage import Policy
from ml.views import views_of

_GRID: Final = 64
_BATCH: Final = 16


@dataclass(frozen=True, kw_only=True)
class Analysis:
    """One photo. `heatmap`: float32 [h, w] of the photo, 0..1 on one scale for all photos."""

    prediction: Prediction
    heatmap: HeatMap
    explained_class: str
    quality: Quality


def _by_class(probabilities: Floats) -> ByClass:
    return {name: float(value) for name, value in zip(CLASSES, probabilities, strict=True)}


class Ensemble:
    """Loaded once per process; `fingerprint` (sha256 of the manifest) names it on every result."""

    def __init__(self, bundle: Bundle) -> None:
        self.manifest = bundle.manifest
        self.fingerprint = bundle.fingerprint
        self.members = Members(bundle.members, [entry.config for entry in bundle.manifest.members])
        self._outlier = bundle.outlier
        self._votes = np.array([entry.vote for entry in bundle.manifest.members])

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Every file checked against the manifest; BundleError when anything is not as named."""
        return cls(load_bundle(folder))

    @property
    def policy(self) -> Policy:
        return self.manifest.policy

    def analyse(self, images: Sequence[Pixels], *, views: int = 1) -> list[Analysis]:
        """Analyses of uint8 photos [h, w, 3] of any sizes, in their order.

        With more `views` (up to 8) the probabilities are means over turned and mirrored photos.
        """
        analyses: list[Analysis] = []
        for start in range(0, len(images), _BATCH):
            analyses.extend(self._analyse_batch(images[start : start + _BATCH], views))
        return analyses

    def _analyse_batch(self, images: Sequence[Pixels], views: int) -> list[Analysis]:
        first, *others = [self.members.forward(seen) for seen in views_of(images, views)]
        members = np.mean([each.probabilities for each in (first, *others)], axis=0)
        mean = mean_of_members(members, self._votes)
        ensemble = apply_temperature(mean, self.manifest.temperature)
        top = ensemble.argmax(axis=1)
        maps = self._mean_evidence(first.features, torch.from_numpy(top))
        outlier = self._outlier.scores(first.pooled, images)
        return [
            Analysis(
                prediction=self._prediction(ensemble[index], members[:, index], outlier[index]),
                heatmap=on_photo(maps[index], height=image.shape[0], width=image.shape[1]),
                explained_class=CLASSES[top[index]],
                quality=assess_quality(image, self.manifest.quality),
            )
            for index, image in enumerate(images)
        ]

    def _mean_evidence(self, features: list[Tensor], classes: Tensor) -> HeatMap:
        """[n, grid, grid]: every member explains the class of the ensemble, not its own."""
        with torch.inference_mode():
            maps = [
                evidence(raw_cam(network, seen, classes), scale=entry.cam_scale, grid=_GRID)
                for network, seen, entry in zip(
                    self.members.networks, features, self.manifest.members, strict=True
                )
            ]
            weighted = torch.stack(maps) * torch.from_numpy(self._votes).float().view(-1, 1, 1, 1)
            mean: HeatMap = (weighted.sum(dim=0) / self._votes.sum()).numpy()
        return mean

    def _prediction(self, ensemble: Floats, members: Floats, outlier_score: float) -> Prediction:
        names = [config.name for config in self.members.configs]
        probabilities = _by_class(ensemble)
        return Prediction.of(
            probabilities=probabilities,
            members={name: _by_class(values) for name, values in zip(names, members, strict=True)},
            sets=self.manifest.conformal.sets(probabilities),
            outlier_score=float(outlier_score),
        )
