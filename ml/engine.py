"""What runs the networks: one interface, so that a machine may choose its own way."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from ml.arrays import Pixels

CPU_BATCH: Final = 8


class DeviceLostError(Exception):
    """The accelerator failed for good: nothing in this process can use it again, so it must end."""


@dataclass(frozen=True)
class MemberPass:
    """What one member answers to n squares, all float32.

    `logits` [n, classes]; `pooled` [n, channels]: the means of its last feature maps;
    `class_maps` [n, classes, h, w] in logits: a map's mean plus the head's bias is the logit.
    """

    logits: NDArray[np.float32]
    pooled: NDArray[np.float32]
    class_maps: NDArray[np.float32]

    def first(self, count: int) -> "MemberPass":
        """What is said of the first photos only."""
        return MemberPass(self.logits[:count], self.pooled[:count], self.class_maps[:count])

    @classmethod
    def joined(cls, parts: "Sequence[MemberPass]") -> "MemberPass":
        """One pass of passes over parts of a batch, in their order."""
        return cls(
            np.concatenate([part.logits for part in parts]),
            np.concatenate([part.pooled for part in parts]),
            np.concatenate([part.class_maps for part in parts]),
        )


class Engine(Protocol):
    """All members of an ensemble, loaded and warm; it runs one batch at a time."""

    @property
    def name(self) -> str:
        """What runs them, for instance "torch eager fp32"."""

    @property
    def device(self) -> str:
        """Where: "cpu", or "cuda:0"."""

    @property
    def batch_size(self) -> int:
        """How many photos at once keep it busy."""

    def run(self, squares: Sequence[Pixels]) -> list[MemberPass]:
        """Pass uint8 squares [n, side, side, 3], one array for each member in their order.

        Raises:
            DeviceLostError: the accelerator cannot be used any more.

        """
