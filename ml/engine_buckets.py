"""Batches on an accelerator: a few sizes only, padded; less at once when its memory runs out."""

from collections.abc import Sequence
from typing import Final, Protocol

import numpy as np
import torch

from ml.arrays import Pixels
from ml.engine import DeviceLostError, MemberPass

BUCKETS: Final = (1, 4, 8, 16, 32, 64)


class Runner(Protocol):
    """What an accelerator does: batches of the sizes of BUCKETS only."""

    def run(self, squares: Sequence[Pixels]) -> list[MemberPass]:
        """As `Engine.run`; RuntimeError when the accelerator fails, OutOfMemoryError among them."""

    def forget_above(self, bucket: int) -> None:
        """Give back the memory that larger batches needed."""


class BucketEngine:
    """Passes every bucket once at the start: the largest that memory holds is its `batch_size`.

    Raises:
        DeviceLostError: not even one photo passes.

    """

    def __init__(self, runner: Runner, sides: Sequence[int], *, name: str, device: str) -> None:
        self.name = name
        self.device = device
        self.batch_size = BUCKETS[-1]
        self._runner = runner
        for bucket in BUCKETS:
            if bucket <= self.batch_size:
                self.run([np.zeros((bucket, side, side, 3), np.uint8) for side in sides])

    def run(self, squares: Sequence[Pixels]) -> list[MemberPass]:
        """Halve the batch as often as memory runs out; the smaller batch stays."""
        passes: list[list[MemberPass]] = []
        done = 0
        while done < len(squares[0]):
            part = [own[done : done + self.batch_size] for own in squares]
            try:
                passes.append(self._padded(part))
            except torch.OutOfMemoryError as error:
                self._shrink(error)
            except RuntimeError as error:
                raise DeviceLostError(f"{self.device} failed: {error}") from error
            else:
                done += len(part[0])
        return [MemberPass.joined(parts) for parts in zip(*passes, strict=True)]

    def _padded(self, squares: Sequence[Pixels]) -> list[MemberPass]:
        count = len(squares[0])
        bucket = next(size for size in BUCKETS if size >= count)
        padding = ((0, bucket - count), (0, 0), (0, 0), (0, 0))
        passes = self._runner.run([np.pad(own, padding) for own in squares])
        return [each.first(count) for each in passes]

    def _shrink(self, error: torch.OutOfMemoryError) -> None:
        smaller = [bucket for bucket in BUCKETS if bucket < self.batch_size]
        if not smaller:
            raise DeviceLostError(
                f"{self.device} has no memory left for one photo: does another program use it?"
            ) from error
        self.batch_size = smaller[-1]
        self._runner.forget_above(self.batch_size)
