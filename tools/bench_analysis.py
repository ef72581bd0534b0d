"""Photos a second from decoded pixels to heat-map, against the plain way; prints one JSON line.

The plain way is what most examples do: each network as built, one photo at a time, and the Grad-CAM
of the package grad-cam with its backward pass for each member.
"""

import argparse
import json
import statistics
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

from ml.arrays import Pixels
from ml.artifact import Bundle, live_bundle, load_bundle
from ml.ensemble import Ensemble
from ml.members import PooledClassifier
from ml.preprocess import to_input
from ml.torch_import import torchvision_models
from tools.lesion_drawing import draw_lesion

PHOTOS: Final = 8
ROUNDS: Final = 5
SIZE: Final = (600, 450)


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


def run(
    folder: Path | None = None, *, photos: int = PHOTOS, rounds: int = ROUNDS
) -> dict[str, Any]:
    """Medians of interleaved rounds, so that a busy machine slows both ways alike."""
    folder = folder or live_bundle()
    plain, ours = PlainWay(load_bundle(folder)), Ensemble.load(folder)
    pictures = [np.asarray(draw_lesion(seed, SIZE)) for seed in range(photos)]
    ways: dict[str, Callable[[Sequence[Pixels]], Any]] = {
        "plain": plain.analyse,
        "batched": ours.analyse,
        "single": _one_by_one(ours),
    }
    times: dict[str, list[float]] = {name: [] for name in ways}
    for analyse in ways.values():
        analyse(pictures[:1])
    for _ in range(rounds):
        for name, analyse in ways.items():
            times[name].append(_seconds(analyse, pictures))
    speed = {name: photos / statistics.median(taken) for name, taken in times.items()}
    ratios = [slow / fast for slow, fast in zip(times["plain"], times["batched"], strict=True)]
    return {
        "benchmark": "analysis",
        "bundle": ours.manifest.version,
        "photos_per_second": round(speed["batched"], 2),
        "one_at_a_time_photos_per_second": round(speed["single"], 2),
        "plain_photos_per_second": round(speed["plain"], 2),
        "ratio": round(statistics.median(ratios), 2),
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
    options = parser.parse_args()
    print(json.dumps(run(options.bundle, photos=options.photos, rounds=options.rounds)))


if __name__ == "__main__":
    main()
