"""The ensemble in service: photos in, calibrated probabilities and two heat-maps each out."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

import numpy as np
import torch
from numpy.typing import NDArray

from ml.arithmetic import Arithmetic
from ml.arrays import HeatMap, Pixels
from ml.artifact import Bundle, load_bundle
from ml.combine import combine
from ml.engine import Engine
from ml.engine_choice import Device, engine_for
from ml.focus import Focus
from ml.forward import Members
from ml.gradcam import evidence, focus_of, on_photo
from ml.labels import CLASSES
from ml.prediction import Prediction
from ml.prepared import PreparedPhoto, prepare
from ml.quality import Quality, quality_of
from ml.triage import Policy
from ml.views import views_of

_GRID: Final = 64
# As many of the likeliest classes are explained: "why melanoma, and not naevus".
EXPLAINED: Final = 2


@dataclass(frozen=True, kw_only=True)
class ClassMap:
    """Where the evidence for one class lies, on one scale for all photos and classes.

    `heatmap`: float32 [h, w] of the photo, 0..1.
    """

    label: str
    heatmap: HeatMap
    focus: Focus


@dataclass(frozen=True, kw_only=True)
class Analysis:
    """One photo. `maps`: of the EXPLAINED likeliest classes, the likeliest first."""

    prediction: Prediction
    maps: tuple[ClassMap, ...]
    quality: Quality


class Ensemble:
    """Loaded once per process; `fingerprint` (sha256 of the manifest) names it on every result."""

    def __init__(self, bundle: Bundle, engine: Engine) -> None:
        self.manifest = bundle.manifest
        self.fingerprint = bundle.fingerprint
        self._engine = engine
        self._members = Members(engine, [entry.config for entry in bundle.manifest.members])
        self._sides = self._members.sides
        self._outlier = bundle.outlier
        # Scaling leaves Python's lock free.
        self._cores = ThreadPoolExecutor(torch.get_num_threads())

    @classmethod
    def load(
        cls,
        folder: Path,
        *,
        device: Device = "auto",
        arithmetic: Arithmetic | None = None,
    ) -> Self:
        """Every file checked against the manifest; the engine is warm.

        `arithmetic` is of a CPU; without it the bundle gets the one that is permitted to it.

        Raises:
            BundleError: anything is not as the manifest says.
            DeviceLostError: the accelerator does not work.

        """
        bundle = load_bundle(folder)
        return cls(bundle, engine_for(bundle, device, arithmetic))

    @property
    def engine(self) -> str:
        """What runs the networks, for instance "torch eager fp32"."""
        return self._engine.name

    @property
    def device(self) -> str:
        """Where they run: "cpu", or "cuda:0"."""
        return self._engine.device

    @property
    def batch_size(self) -> int:
        """How many photos keep the engine busy: more at once gain nothing."""
        return self._engine.batch_size

    @property
    def policy(self) -> Policy:
        return self.manifest.policy

    def analyse(self, images: Sequence[Pixels], *, views: int = 1) -> list[Analysis]:
        """Analyses of uint8 photos [h, w, 3] of any sizes, in their order.

        With more `views` (up to 8) the probabilities are means over turned and mirrored photos.

        Raises:
            DeviceLostError: the accelerator cannot be used any more; the process must end.

        """
        analyses: list[Analysis] = []
        for start in range(0, len(images), self.batch_size):
            analyses.extend(self._analyse_batch(images[start : start + self.batch_size], views))
        return analyses

    def _analyse_batch(self, images: Sequence[Pixels], views: int) -> list[Analysis]:
        prepared = list(self._cores.map(self._prepare, images))
        first = self._members.forward_squares(
            {side: np.stack([each.squares[side] for each in prepared]) for side in self._sides}
        )
        others = [self._members.forward(seen) for seen in views_of(images, views)[1:]]
        predictions = combine(
            np.mean([each.probabilities for each in (first, *others)], axis=0),
            self._outlier.scores(first.pooled, np.stack([each.appearance for each in prepared])),
            self.manifest.rule,
        )
        explained = [[name for name, _ in each.ranked()[:EXPLAINED]] for each in predictions]
        maps = self._mean_evidence(first.class_maps, explained)
        return [
            Analysis(
                prediction=prediction,
                maps=drawn,
                quality=quality_of(each.measures, self.manifest.quality),
            )
            for each, prediction, drawn in zip(
                prepared,
                predictions,
                self._cores.map(_draw, explained, maps, images),
                strict=True,
            )
        ]

    def _prepare(self, photo: Pixels) -> PreparedPhoto:
        return prepare(photo, self._sides)

    def _mean_evidence(
        self, class_maps: list[NDArray[np.float32]], explained: list[list[str]]
    ) -> NDArray[np.float32]:
        """[n, explained, grid, grid]: every member explains the ensemble's classes, not its own."""
        classes = np.array([[CLASSES.index(name) for name in names] for names in explained])
        rows = np.arange(len(classes))[:, None]
        maps = [
            evidence(
                torch.from_numpy(own[rows, classes].reshape(-1, *own.shape[2:])),
                scale=entry.cam_scale,
                grid=_GRID,
            )
            for own, entry in zip(class_maps, self.manifest.members, strict=True)
        ]
        votes = list(self.manifest.rule.votes.values())
        mean = np.average(torch.stack(maps).numpy(), axis=0, weights=votes)
        return mean.astype(np.float32).reshape(*classes.shape, _GRID, _GRID)


def _draw(
    labels: Sequence[str], square_maps: NDArray[np.float32], photo: Pixels
) -> tuple[ClassMap, ...]:
    return tuple(
        ClassMap(
            label=label,
            heatmap=on_photo(square_map, height=photo.shape[0], width=photo.shape[1]),
            focus=focus_of(square_map),
        )
        for label, square_map in zip(labels, square_maps, strict=True)
    )
