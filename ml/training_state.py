"""What a training run changes from step to step: weights, their average, optimizer, progress."""

import copy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import safetensors
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from ml.checkpoint import load_checkpoint, save_checkpoint
from ml.labels import CLASSES
from ml.members import (
    PooledClassifier,
    build_member,
    load_start_weights,
    plain_tensors,
    to_channels_last,
)
from ml.recipes import Recipe

PROGRESS: Final = ("epoch", "step", "seconds", "best", "history", "batches")


class TrainingError(Exception):
    """Training cannot go on; the message says why and what to change."""


@dataclass
class State:
    """All of it is in the checkpoint. `batches`: the batch size, and each smaller one after it."""

    member: PooledClassifier
    average: PooledClassifier
    optimizer: torch.optim.AdamW
    batches: list[int]
    epoch: int = 0
    step: int = 0
    seconds: float = 0.0
    best: float = -1.0
    history: list[dict[str, float]] = field(default_factory=list)

    @property
    def batch(self) -> int:
        return self.batches[-1]

    def save(self, path: Path) -> None:
        save_checkpoint(
            path,
            member=self.member,
            average=self.average,
            optimizer=self.optimizer,
            progress={name: getattr(self, name) for name in PROGRESS},
        )

    def restore(self, path: Path) -> None:
        """Go on from a checkpoint; TrainingError when it is damaged or another member's."""
        try:
            progress = load_checkpoint(
                path, member=self.member, average=self.average, optimizer=self.optimizer
            )
        except (RuntimeError, safetensors.SafetensorError) as error:
            raise TrainingError(f"{path} cannot be resumed ({error}): start without it") from error
        for name in PROGRESS:
            setattr(self, name, progress.get(name, getattr(self, name)))


def load_weights(member: PooledClassifier, path: Path) -> None:
    """Fill body and head from the file of a member; TrainingError when it does not fit."""
    try:
        tensors = plain_tensors(path)
        classes = len(tensors["head.bias"])
        if classes != len(CLASSES):
            raise TrainingError(
                f"{path} has a head of {classes} classes, this program knows {len(CLASSES)} "
                f"({', '.join(CLASSES)}): start from a member trained on these"
            )
        member.load_state_dict(tensors)
    except (OSError, KeyError, RuntimeError, safetensors.SafetensorError) as error:
        raise TrainingError(f"{path} is not the weights of this member: {error}") from error


def load_backbone(member: PooledClassifier, path: Path) -> None:
    """Fill the body alone from torchvision-named weights; TrainingError when it does not fit."""
    try:
        load_start_weights(member, path)
    except (OSError, RuntimeError, safetensors.SafetensorError) as error:
        raise TrainingError(f"{path} is not the weights of this member's body: {error}") from error


def make_optimizer(member: PooledClassifier, recipe: Recipe) -> torch.optim.AdamW:
    """Biases and batch-norm scales are not decayed; the new head learns faster than the body."""
    groups = []
    for module, rate in ((member.body, recipe.body_rate), (member.head, recipe.head_rate)):
        parameters = list(module.parameters())
        for decay, chosen in (
            (recipe.weight_decay, [p for p in parameters if p.ndim > 1]),
            (0.0, [p for p in parameters if p.ndim <= 1]),
        ):
            groups.append({"params": chosen, "weight_decay": decay, "lr": rate, "peak": rate})
    return torch.optim.AdamW(groups, fused=True)


def set_learning_rate(optimizer: torch.optim.Optimizer, factor: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = group["peak"] * factor


def fresh_state(
    recipe: Recipe, device: torch.device, *, start: Path | None, backbone: Path | None
) -> State:
    """Start from a member's weights, else from those of a body, else at random."""
    member = build_member(recipe.config)
    if start:
        load_weights(member, start)
    elif backbone:
        load_backbone(member, backbone)
    member.to(device)
    to_channels_last(member)
    average = copy.deepcopy(member).requires_grad_(requires_grad=False)
    return State(member, average, make_optimizer(member, recipe), [recipe.batch])


def _floats(module: nn.Module) -> list[Tensor]:
    return [tensor for tensor in module.state_dict().values() if tensor.is_floating_point()]


def update_average(average: nn.Module, member: nn.Module, *, decay: float, step: int) -> None:
    """Exponential moving average of weights and batch-norm statistics, short at the start."""
    keep = min(decay, (1 + step) / (10 + step))
    follow = get_ema_multi_avg_fn(keep)  # type: ignore[no-untyped-call]
    follow(_floats(average), _floats(member), None)
