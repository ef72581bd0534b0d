"""Does a heat-map depend on what the network learnt? The cascade of Adebayo et al. 2018.

The layers are set back to random weights from the head downwards, one group after the other. A map
that stays alike shows the photo, not the network.
"""

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass

import numpy as np
import torch
from scipy.stats import rankdata
from torch import Tensor, nn

from ml.arrays import Floats
from ml.gradcam import logits_and_features, raw_cam
from ml.members import PooledClassifier


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """Spearman's rank correlation of maps with those of the untouched network, mean over photos.

    `rank_correlation` takes the signed raw maps, `rank_correlation_absolute` their absolute values;
    the paper gives both. Random weights turn a map's sign as often as not, so the signed mean falls
    to 0 even where the pattern stays; `rank_correlation_strength` is the mean of the correlation
    without its sign, which for `cells` independent cells is `chance_strength`.
    """

    layers: int
    rank_correlation: float
    rank_correlation_absolute: float
    rank_correlation_strength: float
    chance_strength: float


def layer_groups(member: PooledClassifier) -> list[nn.Module]:
    """The head, then the body's layers with weights from the last to the first."""
    body = [layer for layer in member.body.children() if next(layer.parameters(), None) is not None]
    return [member.head, *reversed(body)]


def randomise(layer: nn.Module) -> None:
    """Set a layer's weights back as torch draws them.

    Its batch norms go by the statistics of the batch from then on: those that they had learnt
    belong to the old weights, and without any the signal would die out within some layers.
    """
    for part in layer.modules():
        if isinstance(part, (nn.Conv2d, nn.Linear)):
            part.reset_parameters()
        elif isinstance(part, nn.BatchNorm2d):
            part.reset_parameters()
            part.train()


def rank_correlation(first: Floats, second: Floats) -> Floats:
    """Spearman's correlation [n] of each row of [n, cells] with its like; 0 for a row of ties."""
    ranks = [rankdata(values, axis=1) for values in (first, second)]
    one, other = (values - values.mean(axis=1, keepdims=True) for values in ranks)
    spread = np.sqrt((one**2).sum(axis=1) * (other**2).sum(axis=1))
    shared = (one * other).sum(axis=1)
    correlation: Floats = np.where(spread > 0.0, shared / np.maximum(spread, 1e-12), 0.0)
    return correlation


def _maps(member: PooledClassifier, inputs: Tensor, classes: Tensor) -> Floats:
    """Raw maps [n, cells]."""
    with torch.inference_mode():
        _, features = logits_and_features(member, inputs)
        return raw_cam(member, features, classes).flatten(1).double().numpy()


def _agreement(layers: int, original: Floats, runs: Sequence[Floats]) -> Agreement:
    signed = np.stack([rank_correlation(original, maps) for maps in runs])
    absolute = np.stack([rank_correlation(np.abs(original), np.abs(maps)) for maps in runs])
    # Of independent ranks the correlation is about normal with variance 1 / (cells - 1).
    chance = np.sqrt(2.0 / (np.pi * (original.shape[1] - 1)))
    return Agreement(
        layers=layers,
        rank_correlation=float(signed.mean()),
        rank_correlation_absolute=float(absolute.mean()),
        rank_correlation_strength=float(np.abs(signed).mean()),
        chance_strength=float(chance),
    )


def _one_cascade(
    member: PooledClassifier, inputs: Tensor, classes: Tensor, seed: int
) -> list[Floats]:
    copy = deepcopy(member)
    maps = [_maps(copy, inputs, classes)]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for layer in layer_groups(copy):
            randomise(layer)
            maps.append(_maps(copy, inputs, classes))
    return maps


def cascade(
    member: PooledClassifier, inputs: Tensor, classes: Tensor, *, seeds: Sequence[int]
) -> list[Agreement]:
    """Agreement after 0, 1, ... all groups of layers, mean over photos and seeds.

    Every map is of the photo's class in `classes` [n], which stays the same throughout. The member
    must be in evaluation mode with its batch norms (not folded), and is left as it was.
    """
    original = _maps(member, inputs, classes)
    runs = [_one_cascade(member, inputs, classes, seed) for seed in seeds]
    return [
        _agreement(layers, original, maps) for layers, maps in enumerate(zip(*runs, strict=True))
    ]
