"""Which engine runs the networks on this machine."""

import json
from pathlib import Path
from typing import Final, Literal

import torch

from ml.artifact import Bundle
from ml.engine import Engine
from ml.engine_cuda import cuda_engine
from ml.engine_openvino import OpenVinoEngine, Precision, computes_in_bf16

Device = Literal["auto", "cpu", "cuda"]
GATE_FILE: Final = Path(__file__).with_name("engine_gate.json")


def permitted_precision(fingerprint: str, gate_file: Path = GATE_FILE) -> Precision:
    """Half precision for a bundle that `python -m ml.engine_gate` found fit for it, else single."""
    judged = json.loads(gate_file.read_text(encoding="utf-8"))
    return "bf16" if judged.get(fingerprint, {}).get("may_serve", False) else "f32"


def engine_for(bundle: Bundle, device: Device, precision: Precision | None = None) -> Engine:
    """Put a loaded bundle's members into service; "auto" takes an accelerator if there is one.

    On a CPU it takes as many cores as PyTorch would (OMP_NUM_THREADS), and without a `precision`
    the one that is permitted to the bundle and that the processor has instructions for.

    Raises:
        DeviceLostError: the accelerator does not work.

    """
    configs = [entry.config for entry in bundle.manifest.members]
    networks = [bundle.members[config.name] for config in configs]
    if device == "cuda" or (device == "auto" and torch.cuda.is_available()):
        return cuda_engine(networks, configs)
    if precision is None:
        precision = permitted_precision(bundle.fingerprint) if computes_in_bf16() else "f32"
    return OpenVinoEngine.of(networks, configs, precision=precision, cores=torch.get_num_threads())
