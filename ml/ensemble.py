"""The ensemble in service: photos in, calibrated probabilities and one heat-map each out."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from ml.arrays import Floats, HeatMap, Pixels
from ml.artifact import Manifest, load_bundle
from ml.calibration import apply_temperature, mean_of_members
from ml.gradcam import evidence, logits_and_features, on_photo, raw_cam
from ml.labels import CLASSES
from ml.members import PooledClassifier, to_channels_last
from ml.prediction import ByClass, Prediction
from ml.preprocess import to_input
from ml.quality import Quality, assess_quality
from ml.triage import Policy

_GRID: Final = 64
_BATCH: Final = 16


@dataclass(frozen=True, kw_only=True)
class Analysis:
    """One photo. `heatmap`: float32 [h, w] of the photo, 0..1 on one scale for all photos."""

    prediction: Prediction
    heatmap: HeatMap
    explained_class: str
    quality: Quality


def fold_batch_norm(module: nn.Module) -> None:
    """Write each batch norm that follows a convolution into the convolution's own weights."""
    before: tuple[str, nn.Module] | None = None
    for name, child in list(module.named_children()):
        if (
            before is not None
            and isinstance(before[1], nn.Conv2d)
            and isinstance(child, nn.BatchNorm2d)
        ):
            setattr(module, before[0], fuse_conv_bn_eval(before[1], child))
            setattr(module, name, nn.Identity())
        else:
            fold_batch_norm(child)
        before = (name, child)


def _by_class(probabilities: Floats) -> ByClass:
    return {name: float(value) for name, value in zip(CLASSES, probabilities, strict=True)}


class Ensemble:
    """Loaded once per process; `fingerprint` (sha256 of the manifest) names it on every result."""

    def __init__(
        self, *, manifest: Manifest, fingerprint: str, members: dict[str, PooledClassifier]
    ) -> None:
        self.manifest = manifest
        self.fingerprint = fingerprint
        self._members = members
        for member in members.values():
            member.eval()
            fold_batch_norm(member)
            to_channels_last(member)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Every file checked against the manifest; BundleError when anything is not as named."""
        manifest, fingerprint, members = load_bundle(folder)
        return cls(manifest=manifest, fingerprint=fingerprint, members=members)

    @property
    def policy(self) -> Policy:
        return self.manifest.policy

    def analyse(self, images: Sequence[Pixels]) -> list[Analysis]:
        """Analyses of uint8 photos [h, w, 3] of any sizes, in their order."""
        analyses: list[Analysis] = []
        for start in range(0, len(images), _BATCH):
            analyses.extend(self._analyse_batch(images[start : start + _BATCH]))
        return analyses

    def _analyse_batch(self, images: Sequence[Pixels]) -> list[Analysis]:
        with torch.inference_mode():
            passes = [
                logits_and_features(
                    self._members[entry.config.name], to_input(images, entry.config)
                )
                for entry in self.manifest.members
            ]
            members = np.stack([logits.double().softmax(dim=1).numpy() for logits, _ in passes])
            ensemble = apply_temperature(mean_of_members(members), self.manifest.temperature)
            top = ensemble.argmax(axis=1)
            maps = self._mean_evidence([features for _, features in passes], torch.from_numpy(top))
        return [
            Analysis(
                prediction=self._prediction(ensemble[index], members[:, index]),
                heatmap=on_photo(maps[index], height=image.shape[0], width=image.shape[1]),
                explained_class=CLASSES[top[index]],
                quality=assess_quality(image, self.manifest.quality),
            )
            for index, image in enumerate(images)
        ]

    def _mean_evidence(self, features: list[Tensor], classes: Tensor) -> HeatMap:
        """[n, grid, grid]: every member explains the class of the ensemble, not its own."""
        maps = [
            evidence(
                raw_cam(self._members[entry.config.name], of_member, classes),
                scale=entry.cam_scale,
                grid=_GRID,
            )
            for entry, of_member in zip(self.manifest.members, features, strict=True)
        ]
        mean: HeatMap = torch.stack(maps).mean(dim=0).numpy()
        return mean

    def _prediction(self, ensemble: Floats, members: Floats) -> Prediction:
        names = [entry.config.name for entry in self.manifest.members]
        return Prediction.of(
            probabilities=_by_class(ensemble),
            members={name: _by_class(values) for name, values in zip(names, members, strict=True)},
        )
