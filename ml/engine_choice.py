"""Which engine runs the networks on this machine."""

import json
import logging
from pathlib import Path
from typing import Final, Literal

import torch

from ml.arithmetic import FOLDER, SINGLE, Arithmetic, QuantisedError, read_quantised
from ml.artifact import Bundle
from ml.engine import Engine
from ml.engine_cuda import cuda_engine
from ml.engine_openvino import OpenVinoEngine, computes_in

Device = Literal["auto", "cpu", "cuda"]
GATE_FILE: Final = Path(__file__).with_name("engine_gate.json")
_log = logging.getLogger(__name__)


def permitted(bundle: Bundle) -> Arithmetic:
    """What `python -m ml.engine_gate` found fit for a bundle, single precision if nothing."""
    judged = json.loads(GATE_FILE.read_text(encoding="utf-8"))
    serves = judged.get(bundle.fingerprint, {}).get("serves")
    return Arithmetic(folder=bundle.folder / FOLDER, **serves) if serves else SINGLE


def engine_for(bundle: Bundle, device: Device, arithmetic: Arithmetic | None = None) -> Engine:
    """Put a loaded bundle's members into service; "auto" takes an accelerator if there is one.

    On a CPU it takes as many cores as PyTorch would (OMP_NUM_THREADS), and without an `arithmetic`
    the one that is permitted to the bundle, if the processor has instructions for it and the files
    of 8 bits are those that were judged.

    Raises:
        DeviceLostError: the accelerator does not work.
        QuantisedError: the `arithmetic` asked for has other files.

    """
    configs = [entry.config for entry in bundle.manifest.members]
    networks = [bundle.members[config.name] for config in configs]
    if device == "cuda" or (device == "auto" and torch.cuda.is_available()):
        return cuda_engine(networks, configs)
    if arithmetic is None:
        arithmetic = _usable(permitted(bundle))
    return OpenVinoEngine.of(
        networks, configs, arithmetic=arithmetic, cores=torch.get_num_threads()
    )


def _usable(arithmetic: Arithmetic) -> Arithmetic:
    """The same, or single precision where this machine or its files cannot do it."""
    if not computes_in(arithmetic.precisions.values()):
        return SINGLE
    try:
        for name in arithmetic.in_8_bits:
            read_quantised(name, arithmetic)
    except QuantisedError as error:
        _log.warning("single precision serves: %s", error)
        return SINGLE
    return arithmetic
