"""How members are trained: one table for two CPU cores, one for a GPU, and the schedule of both."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final, Literal

from ml.members import MEMBERS, MemberConfig

LABEL_SMOOTHING: Final = 0.05
DEFAULT_IMBALANCE: Final = "soft_sampling_and_adjustment"


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How one member is trained; learning rates are peaks, warm-up is a share of the run."""

    config: MemberConfig
    body_rate: float
    head_rate: float
    batch: int
    weight_decay: float = 0.05
    imbalance: str = DEFAULT_IMBALANCE
    average_decay: float = 0.998
    bfloat16: bool = False
    warm_up: float = 0.03
    epochs: int = 12


@dataclass(frozen=True)
class Budget:
    """What a run may cost, in wall time or in epochs (one view of as many lesions as there are)."""

    amount: float
    unit: Literal["seconds", "epochs"]

    def spent(self, *, seconds: float, epochs: float) -> float:
        """Share that is used up; the run is over at 1, which a sum of equal steps must reach."""
        used = seconds if self.unit == "seconds" else epochs
        return round(used / self.amount, 9)


def learning_rate_factor(done: float, *, warm_up: float) -> float:
    """Linear warm-up, then half a cosine, over the done share (0..1) of the run."""
    if done < warm_up:
        return max(done, 1e-3) / warm_up
    return 0.5 * (1.0 + math.cos(math.pi * min(1.0, (done - warm_up) / (1.0 - warm_up))))


CPU_RECIPES: Final[Mapping[str, Recipe]] = MappingProxyType(
    {
        "efficientnet_b0": Recipe(
            config=MEMBERS["efficientnet_b0"], body_rate=5e-4, head_rate=2e-3, batch=32
        ),
        # Measured on AVX-512 BF16: Inception trains 1.6 times as fast in bfloat16, B0 slower.
        "inception_v3": Recipe(
            config=MEMBERS["inception_v3"], body_rate=4e-4, head_rate=2e-3, batch=32, bfloat16=True
        ),
        "basic_cnn": Recipe(config=MEMBERS["basic_cnn"], body_rate=2e-3, head_rate=2e-3, batch=64),
    }
)


def _on_gpu(name: str, *, input_size: int, epochs: int) -> Recipe:
    """Rates of the CPU recipe, larger pictures and batches, one epoch of warm-up."""
    cpu = CPU_RECIPES[name]
    return replace(
        cpu,
        config=replace(cpu.config, input_size=input_size),
        batch=128,
        average_decay=0.999,
        bfloat16=True,
        warm_up=1.0 / epochs,
        epochs=epochs,
    )


GPU_RECIPES: Final[Mapping[str, Recipe]] = MappingProxyType(
    {
        "efficientnet_b0": _on_gpu("efficientnet_b0", input_size=224, epochs=24),
        "inception_v3": _on_gpu("inception_v3", input_size=299, epochs=24),
        # Small and from random weights, it needs more epochs and has the time for them.
        "basic_cnn": _on_gpu("basic_cnn", input_size=128, epochs=60),
    }
)
RECIPES: Final = MappingProxyType({"cpu": CPU_RECIPES, "gpu": GPU_RECIPES})
