"""Times the engines that could run the networks; prints one JSON line for each.

    python -m tools.bench_engines --device cpu
    python -m tools.bench_engines --device cuda

Networks only, from uint8 squares to class maps, in milliseconds a photo for each batch size; each
engine in a process of its own, with its time to load and the most memory that it took.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, Literal, get_args

import numpy as np
import torch

from ml.arithmetic import Arithmetic, Precision
from ml.arrays import Pixels
from ml.artifact import live_bundle, load_bundle
from ml.engine import Engine, MemberPass
from ml.engine_cuda import cuda_engine
from ml.engine_eager import EagerEngine
from ml.engine_openvino import OpenVinoEngine
from ml.members import MemberConfig, PooledClassifier
from ml.served_member import ServedMember

Name = Literal["eager", "compile", "onnxruntime", "openvino", "openvino-bf16", "cuda"]
ON_CPU: Final[tuple[Name, ...]] = ("eager", "compile", "onnxruntime", "openvino", "openvino-bf16")
BATCHES: Final = {"cpu": (1, 8, 16), "cuda": (1, 4, 8, 16, 32, 64)}
ROUNDS: Final = 5

Networks = Sequence[PooledClassifier]
Configs = Sequence[MemberConfig]


class _OnnxRuntime:
    """A session for each member, one after the other, each on all cores."""

    name = "onnxruntime fp32"
    device = "cpu"
    batch_size = 8

    def __init__(self, networks: Networks, configs: Configs) -> None:
        import onnxruntime  # noqa: PLC0415 - a package of the developers' alone

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        self._sessions = [
            onnxruntime.InferenceSession(
                _to_onnx(ServedMember(network, config)), options, ["CPUExecutionProvider"]
            )
            for network, config in zip(networks, configs, strict=True)
        ]

    def run(self, squares: Sequence[Pixels]) -> list[MemberPass]:
        return [
            MemberPass(*session.run(None, {"squares": own}))
            for session, own in zip(self._sessions, squares, strict=True)
        ]


def _to_onnx(member: ServedMember) -> bytes:
    side = member.config.input_size
    example = torch.zeros(2, side, side, 3, dtype=torch.uint8)
    with TemporaryDirectory() as folder, warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")
        file = Path(folder) / "member.onnx"
        torch.onnx.export(
            member,
            (example,),
            str(file),
            input_names=["squares"],
            output_names=["logits", "pooled", "class_maps"],
            dynamic_axes={name: {0: "n"} for name in ("squares", "logits", "pooled", "class_maps")},
            dynamo=False,
        )
        return file.read_bytes()


def _compiled(networks: Networks, configs: Configs) -> Engine:
    engine = EagerEngine.of(networks, configs)
    for member in engine.members:
        member.compile()
    return engine


def _openvino(precision: Precision) -> Callable[[Networks, Configs], Engine]:
    def made(networks: Networks, configs: Configs) -> Engine:
        arithmetic = Arithmetic(precisions={config.name: precision for config in configs})
        cores = torch.get_num_threads()
        return OpenVinoEngine.of(networks, configs, arithmetic=arithmetic, cores=cores)

    return made


MAKERS: Final[dict[Name, Callable[[Networks, Configs], Engine]]] = {
    "eager": EagerEngine.of,
    "compile": _compiled,
    "onnxruntime": _OnnxRuntime,
    "openvino": _openvino("f32"),
    "openvino-bf16": _openvino("bf16"),
    "cuda": cuda_engine,
}


def measure(name: Name, folder: Path, batches: Sequence[int]) -> dict[str, Any]:
    """Figures of one engine in this process."""
    bundle = load_bundle(folder)
    configs = [entry.config for entry in bundle.manifest.members]
    start = time.perf_counter()
    engine = MAKERS[name]([bundle.members[config.name] for config in configs], configs)
    random = np.random.default_rng(0)
    largest = [
        random.integers(0, 256, (max(batches), side, side, 3), dtype=np.uint8)
        for side in (config.input_size for config in configs)
    ]
    engine.run([own[:1] for own in largest])
    ready = time.perf_counter() - start
    return {
        "benchmark": "engines",
        "engine": name,
        "runs_on": torch.cuda.get_device_name() if name == "cuda" else "cpu",
        "seconds_to_ready": round(ready, 2),
        "milliseconds_per_photo": {
            str(batch): round(_milliseconds(engine, [own[:batch] for own in largest]), 3)
            for batch in batches
        },
        "batch_size": engine.batch_size,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "threads": torch.get_num_threads(),
    }


def _milliseconds(engine: Engine, squares: Sequence[Pixels]) -> float:
    engine.run(squares)
    taken = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        engine.run(squares)
        taken.append(time.perf_counter() - start)
    return 1e3 * statistics.median(taken) / len(squares[0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", choices=tuple(BATCHES), default="cpu")
    parser.add_argument("--engine", choices=get_args(Name), help="only this one, in this process")
    parser.add_argument("--bundle", type=Path, help="folder of a bundle (default: the live one)")
    options = parser.parse_args()
    folder = options.bundle or live_bundle()
    if options.engine:
        print(json.dumps(measure(options.engine, folder, BATCHES[options.device])))
        return
    for name in ON_CPU if options.device == "cpu" else ("cuda",):
        own = ["--device", options.device, "--engine", name, "--bundle", str(folder)]
        subprocess.run([sys.executable, "-m", "tools.bench_engines", *own], check=True)


if __name__ == "__main__":
    main()
