"""A run of training before its first step: what it is told, and what it has at hand."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch
from torch import Tensor

from ml.imbalance import IMBALANCE, log_shares
from ml.recipes import Budget, Recipe, learning_rate_factor
from ml.sampler import Lesion, LesionSampler, class_weights
from ml.training_data import HeldOut, Pool, Source
from ml.training_state import State, TrainingError, fresh_state

CHECKPOINT_FILE: Final = "checkpoint.safetensors"


@dataclass(frozen=True, kw_only=True)
class Job:
    """How a member is trained, which fold it never sees, where it starts and what keeps it.

    It goes on from `start`, the weights of a member, else from `backbone`, those of a body, else
    from random weights.
    """

    recipe: Recipe
    budget: Budget
    fold: int
    out: Path
    start: Path | None
    backbone: Path | None
    seed: int
    resume: bool


@dataclass(frozen=True)
class Run:
    """A job with all that it learns from and is judged on. An epoch has `epoch_views` views."""

    job: Job
    state: State
    pool: Pool
    sampler: LesionSampler
    epoch_views: int
    log_prior: Tensor
    held_out: HeldOut
    generator: torch.Generator

    def spent(self, views: int = 0) -> float:
        """Share of the budget after the finished epochs and some views of the next."""
        epochs = self.state.epoch + views / self.epoch_views
        return self.job.budget.spent(seconds=self.state.seconds, epochs=epochs)

    def learning_rate_factor(self, views: int) -> float:
        return learning_rate_factor(self.spent(views), warm_up=self.job.recipe.warm_up)


def prepare_device(name: str) -> torch.device:
    device = torch.device(name)
    if device.type == "cuda":
        if not torch.cuda.is_available():
            raise TrainingError(
                "no CUDA device is here: use the CPU recipe (--member NAME --minutes N --out DIR), "
                "or try this one slowly with --device cpu"
            )
        torch.backends.cudnn.benchmark = True
        # Training computes in bfloat16; the judgement shall have the precision of the service.
        torch.backends.cudnn.allow_tf32 = False
    return device


def _prepare_state(job: Job, device: torch.device) -> State:
    torch.manual_seed(job.seed)
    state = fresh_state(job.recipe, device, start=job.start, backbone=job.backbone)
    checkpoint = job.out / CHECKPOINT_FILE
    if job.resume and checkpoint.exists():
        state.restore(checkpoint)
    return state


def prepare_run(job: Job, lesions: list[Lesion], source: Source, pool: Pool) -> Run:
    """Stand at the start, or on resume where the checkpoint stands."""
    recipe, device = job.recipe, pool.device
    state = _prepare_state(job, device)
    power = IMBALANCE[recipe.imbalance].sampling_power
    sampler = LesionSampler(
        lesions, power=power, generator=np.random.default_rng((job.seed, job.fold))
    )
    epoch_views = max(1, len(lesions) // recipe.batch) * recipe.batch
    for _ in range(state.epoch):
        # A resumed run goes on with the lesions that would have come next.
        sampler.draw(epoch_views)
    return Run(
        job=job,
        state=state,
        pool=pool,
        sampler=sampler,
        epoch_views=epoch_views,
        log_prior=log_shares(class_weights(lesions, power=power)).to(device),
        held_out=HeldOut.of(source, recipe.config, fold=job.fold, device=device),
        generator=torch.Generator(device),
    )
