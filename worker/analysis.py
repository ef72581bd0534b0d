"""What the worker asks of the ensemble, and what it gets back."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ml.focus import Focus
from ml.prediction import Prediction
from ml.quality_flag import QualityFlag
from ml.triage import Triage

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class ClassMap:
    """Where the evidence for one class lies.

    A PNG to lay over the photo: of the same shape, but it may have fewer pixels.
    """

    label: str
    focus: Focus
    png: bytes = field(repr=False)


@dataclass(frozen=True)
class Analysis:
    """What the ensemble says about one photo. The measures are those of ml.quality, by name.

    `maps` are of the likeliest classes, the likeliest first.
    """

    prediction: Prediction
    maps: tuple[ClassMap, ...]
    quality_flags: tuple[QualityFlag, ...]
    quality_measures: Mapping[str, float] = field(default_factory=dict)


class Analyst(Protocol):
    """The ensemble with its triage policy; worker.analyst is the real one."""

    @property
    def version(self) -> str: ...
    @property
    def fingerprint(self) -> str: ...
    @property
    def engine(self) -> str: ...
    @property
    def device(self) -> str: ...
    @property
    def batch_size(self) -> int: ...

    def analyse(self, photos: Sequence[Pixels]) -> list[Analysis]: ...

    def triage(
        self,
        analysis: Analysis | None,
        *,
        score: int,
        strong_concern: bool,
        tone_doubt: str | None,
    ) -> Triage: ...
