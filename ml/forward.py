"""The members as they serve: one forward pass of all of them over some photos."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ml.arrays import Floats, Pixels
from ml.engine import Engine
from ml.members import MemberConfig
from ml.preprocess import squares_of


@dataclass(frozen=True, kw_only=True)
class ForwardPass:
    """What the members answer.

    `probabilities` [members, n, classes], uncalibrated. `pooled` [n, channels]: the pooled features
    of every member, each scaled to length one, side by side. `class_maps`: for each member its
    activation maps [n, classes, h, w], in logits.
    """

    probabilities: Floats
    pooled: Floats
    class_maps: list[NDArray[np.float32]]


def _softmax(logits: NDArray[np.float32]) -> Floats:
    powers: Floats = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    shares: Floats = powers / powers.sum(axis=1, keepdims=True)
    return shares


def _to_length_one(rows: NDArray[np.float32]) -> Floats:
    wide = rows.astype(np.float64)
    scaled: Floats = wide / np.maximum(np.linalg.norm(wide, axis=1, keepdims=True), 1e-12)
    return scaled


class Members:
    """The networks of an ensemble in a fixed order, on the engine that runs them."""

    def __init__(self, engine: Engine, configs: Sequence[MemberConfig]) -> None:
        self.engine = engine
        self._sides = [config.input_size for config in configs]

    @property
    def sides(self) -> set[int]:
        """Sides of the squares that `forward_squares` needs, in pixels."""
        return set(self._sides)

    def forward(self, photos: Sequence[Pixels]) -> ForwardPass:
        """Pass uint8 photos [h, w, 3] of any sizes, all at once."""
        return self.forward_squares({side: squares_of(photos, side) for side in self.sides})

    def forward_squares(self, squares: Mapping[int, Pixels]) -> ForwardPass:
        """Pass the photos' middle squares uint8 [n, side, side, 3], by side."""
        passes = self.engine.run([squares[side] for side in self._sides])
        return ForwardPass(
            probabilities=np.stack([_softmax(each.logits) for each in passes]),
            pooled=np.concatenate([_to_length_one(each.pooled) for each in passes], axis=1),
            class_maps=[each.class_maps for each in passes],
        )
