"""Which engine runs the networks on this machine."""

from typing import Literal

import torch

from ml.artifact import Bundle
from ml.engine import Engine
from ml.engine_cuda import cuda_engine
from ml.engine_openvino import OpenVinoEngine

Device = Literal["auto", "cpu", "cuda"]


def engine_for(bundle: Bundle, device: Device) -> Engine:
    """Put a loaded bundle's members into service; "auto" takes an accelerator if there is one.

    On a CPU it takes as many cores as PyTorch would (OMP_NUM_THREADS).
    """
    configs = [entry.config for entry in bundle.manifest.members]
    networks = [bundle.members[config.name] for config in configs]
    if device == "cuda" or (device == "auto" and torch.cuda.is_available()):
        return cuda_engine(networks, configs)
    return OpenVinoEngine.of(networks, configs, cores=torch.get_num_threads())
