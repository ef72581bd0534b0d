"""In the worker: an engine like that of a GPU with little memory, which breaks once."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from ml import ensemble
from ml.arithmetic import Arithmetic
from ml.arrays import Pixels
from ml.artifact import Bundle
from ml.engine import DeviceLostError, Engine, MemberPass
from ml.engine_choice import Device, engine_for

MOST_SQUARES = 1


def inject(breaks: str) -> None:
    """While the file `breaks` is there, the next pass loses the device and takes the file away."""

    def failing(bundle: Bundle, device: Device, arithmetic: Arithmetic | None = None) -> Engine:
        return _FailingEngine(engine_for(bundle, device, arithmetic), Path(breaks))

    ensemble.engine_for = failing  # type: ignore[attr-defined]


@dataclass(frozen=True)
class _FailingEngine:
    engine: Engine
    breaks: Path

    @property
    def name(self) -> str:
        return self.engine.name

    @property
    def device(self) -> str:
        return self.engine.device

    @property
    def batch_size(self) -> int:
        return self.engine.batch_size

    def run(self, squares: Sequence[Pixels]) -> list[MemberPass]:
        if self.breaks.exists():
            self.breaks.unlink()
            raise DeviceLostError("the device has fallen off the bus")
        if len(squares[0]) > MOST_SQUARES:
            raise torch.OutOfMemoryError("the device has no memory left")
        return self.engine.run(squares)
