"""Which engine runs the networks on this machine."""

from typing import Literal

from ml.artifact import Bundle
from ml.engine import DeviceLostError, Engine
from ml.engine_eager import EagerEngine

Device = Literal["auto", "cpu", "cuda"]


def engine_for(bundle: Bundle, device: Device) -> Engine:
    """Put a loaded bundle's members into service; "auto" takes an accelerator if there is one."""
    if device == "cuda":
        raise DeviceLostError("no engine for CUDA in this version")
    configs = [entry.config for entry in bundle.manifest.members]
    return EagerEngine.of([bundle.members[config.name] for config in configs], configs)
