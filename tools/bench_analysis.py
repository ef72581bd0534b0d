"""Photos a second from decoded pixels to heat-map, against the plain way; prints one JSON line.

The plain way is what most examples do: each network as built, one photo at a time, and the Grad-CAM
of the package grad-cam with its backward pass for each member.
"""

import argparse
import json
import statistics
import time
import warnings
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

from ml.architecture import size_of
from ml.arithmetic import SINGLE
from ml.arrays import Pixels
from ml.artifact import Bundle, live_bundle, load_bundle
from ml.ensemble import Ensemble
from ml.members import MemberConfig, PooledClassifier
from ml.preprocess import to_input
from ml.torch_import import torchvision_models
from tools.lesion_drawing import draw_lesion

PHOTOS: Final = 8
ROUNDS: Final = 5
SIZE: Final = (600, 450)
_MATRIX: Final = 2048
_COPIED: Final = 256 * 1024**2
_REPEATS: Final = 3


class PlainWay:
    """Three eager members and pytorch-grad-cam, photo by photo."""

    def __init__(self, bundle: Bundle) -> None:
        # The package imports torchvision, which needs its operators declared.
        torchvision_models()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from pytorch_grad_cam import GradCAM  # noqa: PLC0415
            from pytorch_grad_cam.utils.model_targets import (  # noqa: PLC0415
                ClassifierOutputTarget,
            )
        self._target = ClassifierOutputTarget
        self._parts = [
            (
                entry.config,
                bundle.members[entry.config.name],
                GradCAM(
                    model=bundle.members[entry.config.name],
                    target_layers=[_last(bundle.members[entry.config.name])],
                ),
            )
            for entry in bundle.manifest.members
        ]

    def analyse(self, photos: Sequence[Pixels]) -> list[Any]:
        return [self._one(photo) for photo in photos]

    def _one(self, photo: Pixels) -> Any:
        inputs = [to_input([photo], config).contiguous() for config, _, _ in self._parts]
        with torch.no_grad():
            rows = [
                member(values).softmax(dim=1)
                for (_, member, _), values in zip(self._parts, inputs, strict=True)
            ]
        target = self._target(int(torch.stack(rows).mean(dim=0).argmax()))
        return [
            camera(input_tensor=values, targets=[target])
            for (_, _, camera), values in zip(self._parts, inputs, strict=True)
        ]


def _last(member: PooledClassifier) -> torch.nn.Module:
    return list(member.body.children())[-1]


def _seconds(analyse: Callable[[Sequence[Pixels]], Any], photos: Sequence[Pixels]) -> float:
    start = time.perf_counter()
    analyse(photos)
    return time.perf_counter() - start


def arithmetic_limit() -> float:
    """Most floating-point operations a second that a large product of matrices reaches here."""
    left, right = torch.rand(_MATRIX, _MATRIX), torch.rand(_MATRIX, _MATRIX)
    return 2.0 * _MATRIX**3 / _fastest(lambda: left @ right)


def memory_limit() -> float:
    """Most bytes a second that a large copy reads and writes here."""
    source = torch.zeros(_COPIED // 4)
    target = torch.empty_like(source)
    return 2.0 * _COPIED / _fastest(lambda: target.copy_(source))


def _fastest(work: Callable[[], Any]) -> float:
    def seconds() -> float:
        start = time.perf_counter()
        work()
        return time.perf_counter() - start

    return min(seconds() for _ in range(_REPEATS))


def operations_per_photo(configs: Iterable[MemberConfig]) -> int:
    """Multiplications and additions of these members for one photo; a fused pair counts as two."""
    return sum(2 * size_of(config)["macs"] for config in configs)


def run(
    folder: Path | None = None,
    *,
    photos: int = PHOTOS,
    rounds: int = ROUNDS,
    permitted: bool = False,
) -> dict[str, Any]:
    """Medians of interleaved rounds, so that a busy machine slows all ways alike.

    "ratio" compares photos a second in batches with the plain way, "latency_ratio" one photo with
    one photo. The engine computes in single precision, as the limit does, or as it is `permitted`.
    """
    folder = folder or live_bundle()
    bundle = load_bundle(folder)
    operations = operations_per_photo(entry.config for entry in bundle.manifest.members)
    plain = PlainWay(bundle)
    ours = Ensemble.load(folder, device="cpu", arithmetic=None if permitted else SINGLE)
    pictures = [np.asarray(draw_lesion(seed, SIZE)) for seed in range(photos)]
    ways: dict[str, Callable[[Sequence[Pixels]], Any]] = {
        "plain": plain.analyse,
        "batched": ours.analyse,
        "one_at_a_time": _one_by_one(ours),
    }
    for analyse in ways.values():
        analyse(pictures)
    times: dict[str, list[float]] = {name: [] for name in ways}
    limits: list[float] = []
    for _ in range(rounds):
        limits.append(arithmetic_limit())
        for name, analyse in ways.items():
            times[name].append(_seconds(analyse, pictures))
    speed = {name: photos / statistics.median(taken) for name, taken in times.items()}

    def ratio(way: str) -> float:
        pairs = zip(times["plain"], times[way], strict=True)
        return round(statistics.median(slow / fast for slow, fast in pairs), 2)

    return {
        "benchmark": "analysis",
        "bundle": ours.manifest.version,
        "engine": ours.engine,
        "photos_per_second": round(speed["batched"], 2),
        "one_at_a_time_photos_per_second": round(speed["one_at_a_time"], 2),
        "plain_photos_per_second": round(speed["plain"], 2),
        "ratio": ratio("batched"),
        "latency_ratio": ratio("one_at_a_time"),
        "gflop_per_photo": round(operations / 1e9, 3),
        "limit_gflop_per_second": round(statistics.median(limits) / 1e9, 1),
        "limit_copy_gb_per_second": round(memory_limit() / 1e9, 1),
        "share_of_arithmetic_limit": round(
            operations * speed["batched"] / statistics.median(limits), 3
        ),
        "rounds": rounds,
        "threads": torch.get_num_threads(),
    }


def _one_by_one(ensemble: Ensemble) -> Callable[[Sequence[Pixels]], Any]:
    return lambda photos: [ensemble.analyse([photo]) for photo in photos]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bundle", type=Path)
    parser.add_argument("--photos", type=int, default=PHOTOS)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument(
        "--permitted", action="store_true", help="in the precision that serves, not in single"
    )
    options = parser.parse_args()
    figures = run(
        options.bundle,
        photos=options.photos,
        rounds=options.rounds,
        permitted=options.permitted,
    )
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
