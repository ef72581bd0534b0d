"""Train one member: `python -m ml.train --member efficientnet_b0 --minutes 22 --out runs/b0`.

One flat loop. The learning rate follows the clock, so a run always ends with a finished schedule;
`--resume` goes on from the last epoch's checkpoint with the time that is left.
"""

import argparse
import json
import math
import subprocess
import sys
import time
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Final

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

from ml.arrays import Floats
from ml.augment import augment
from ml.checkpoint import load_checkpoint, save_checkpoint
from ml.dataset import (
    SHARP_SIDE,
    Images,
    LesionSampler,
    class_weights,
    group_lesions,
    held_out_rows,
    load_images,
    training_rows,
)
from ml.folds import (
    DEFAULT_METADATA,
    FOLDS_FILE,
    LabelDataError,
    LeakError,
    Record,
    read_folds,
    read_metadata,
)
from ml.image_source import ImageDataError
from ml.imbalance import IMBALANCE, classification_loss, log_shares
from ml.labels import CLASSES
from ml.members import (
    MEMBERS,
    MemberConfig,
    PooledClassifier,
    build_member,
    load_start_weights,
    plain_tensors,
    to_channels_last,
)
from ml.metrics import balanced_accuracy, negative_log_likelihood
from ml.preprocess import normalise, to_input

DEFAULT_IMAGES: Final = Path("../shared/data/ham10000")
DEFAULT_BACKBONES: Final = Path("../shared/data/backbones")
DEFAULT_CACHE: Final = Path(".cache")
HELD_OUT_FOLD: Final = 0
LABEL_SMOOTHING: Final = 0.05
WARM_UP: Final = 0.03
WEIGHTS_FILE: Final = "member.safetensors"
RUN_FILE: Final = "run.json"
CHECKPOINT_FILE: Final = "checkpoint.safetensors"
PROGRESS: Final = ("epoch", "step", "seconds", "best", "history")
_REPORT_STEPS: Final = 20


class TrainingError(Exception):
    """Training cannot go on; the message says why and what to change."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a member is trained; learning rates are peaks of the schedule."""

    body_rate: float
    head_rate: float
    batch: int = 32
    weight_decay: float = 0.05
    imbalance: str = "soft_sampling_and_adjustment"
    average_decay: float = 0.998
    bfloat16: bool = False


RECIPES: Final = {
    "basic_cnn": Recipe(body_rate=2e-3, head_rate=2e-3, batch=64),
    "efficientnet_b0": Recipe(body_rate=5e-4, head_rate=2e-3),
    # Measured on AVX-512 BF16: Inception trains 1.6 times as fast in bfloat16, B0 slower.
    "inception_v3": Recipe(body_rate=4e-4, head_rate=2e-3, bfloat16=True),
}


@dataclass(frozen=True)
class HeldOut:
    """Images and labels that choose the epoch."""

    photos: list[np.ndarray[tuple[int, ...], np.dtype[np.uint8]]]
    labels: np.ndarray[tuple[int, ...], np.dtype[np.int64]]


def learning_rate_factor(done: float) -> float:
    """Linear warm-up, then half a cosine, over the done share (0..1) of the time budget."""
    if done < WARM_UP:
        return max(done, 1e-3) / WARM_UP
    return 0.5 * (1.0 + math.cos(math.pi * min(1.0, (done - WARM_UP) / (1.0 - WARM_UP))))


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


def update_average(average: nn.Module, member: nn.Module, *, decay: float, step: int) -> None:
    """Exponential moving average of weights and batch-norm statistics, short at the start."""
    keep = min(decay, (1 + step) / (10 + step))
    with torch.no_grad():
        for kept, new in zip(
            average.state_dict().values(), member.state_dict().values(), strict=True
        ):
            if kept.is_floating_point():
                kept.lerp_(new, 1.0 - keep)
            else:
                kept.copy_(new)


def load_batch(images: Images, drawn: list[tuple[int, bool, int]]) -> tuple[Tensor, Tensor]:
    """Float [n, 3, 224, 224] in 0..1, soft pictures enlarged, and the labels."""
    pictures = torch.empty(len(drawn), 3, SHARP_SIDE, SHARP_SIDE)
    soft = [place for place, (_, sharp, _) in enumerate(drawn) if not sharp]
    for place, (row, sharp, _) in enumerate(drawn):
        if sharp:
            pixels = torch.from_numpy(images.sharp[images.sharp_row[row]])
            pictures[place] = pixels.permute(2, 0, 1)
    if soft:
        small = torch.from_numpy(images.soft[[drawn[place][0] for place in soft]])
        pictures[soft] = functional.interpolate(
            small.permute(0, 3, 1, 2).float(), size=SHARP_SIDE, mode="bicubic"
        ).clamp_(0.0, 255.0)
    return pictures.div_(255.0), torch.tensor([label for _, _, label in drawn])


def predict(member: PooledClassifier, held_out: HeldOut, config: MemberConfig) -> Floats:
    """Probabilities [n, classes] of the held-out photos, by the way of serving."""
    member.eval()
    parts = []
    with torch.inference_mode():
        for start in range(0, len(held_out.photos), 64):
            logits = member(to_input(held_out.photos[start : start + 64], config))
            parts.append(logits.softmax(dim=1).double().numpy())
    return np.concatenate(parts)


def class_by_source(records: list[Record], images: Images, rows: list[int]) -> str:
    """Share of lesions with a sharp image, by class: alike, or it tells the class."""
    lesions = group_lesions(records, images, rows)
    shares = []
    for label, name in enumerate(CLASSES):
        of_class = [lesion for lesion in lesions if lesion.label == label]
        sharp = sum(lesion.sharp >= 0 for lesion in of_class)
        shares.append(f"{name} {sharp}/{len(of_class)} = {sharp / max(1, len(of_class)):.2f}")
    return "lesions with a sharp image: " + ", ".join(shares)


def provenance(options: argparse.Namespace, images: Images, recipe: Recipe) -> dict[str, object]:
    commit = subprocess.run(
        ["git", "rev-parse", "HEAD"],  # noqa: S607 - whichever git the user has
        capture_output=True,
        text=True,
        check=False,
    )
    return {
        "command": f"python -m ml.train {' '.join(sys.argv[1:])}",
        "commit": commit.stdout.strip() or "unknown",
        "data_sha256": images.data_hash,
        "held_out_fold": HELD_OUT_FOLD,
        "seed": options.seed,
        "recipe": vars(recipe),
        "start": str(options.start or options.backbones),
        "label_smoothing": LABEL_SMOOTHING,
        "versions": {name: version(name) for name in ("torch", "torchvision", "numpy", "pillow")},
        "device": f"cpu, {torch.get_num_threads()} threads",
    }


def chosen_recipe(options: argparse.Namespace) -> Recipe:
    recipe = replace(RECIPES[options.member], imbalance=options.imbalance)
    return replace(recipe, body_rate=options.body_rate) if options.body_rate else recipe


def show_progress(state: "State", steps: list[tuple[float, float]], *, minutes: float) -> None:
    eta = max(0.0, minutes - state.seconds / 60.0)
    line = f"\repoch {state.epoch + 1} step {state.step} loss {np.mean(steps, axis=0)[0]:.3f} ETA {eta:.1f} min "
    print(line, end="", flush=True)


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--member", choices=sorted(MEMBERS), required=True)
    parser.add_argument("--minutes", type=float, required=True, help="wall time of the run")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--images", type=Path, default=DEFAULT_IMAGES)
    parser.add_argument("--metadata", type=Path, default=DEFAULT_METADATA)
    parser.add_argument("--folds", type=Path, default=FOLDS_FILE)
    parser.add_argument("--backbones", type=Path, default=DEFAULT_BACKBONES)
    parser.add_argument("--start", type=Path, help="go on from a member's weights in a bundle")
    parser.add_argument("--cache", type=Path, default=DEFAULT_CACHE)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--body-rate", type=float)
    parser.add_argument(
        "--imbalance", choices=sorted(IMBALANCE), default="soft_sampling_and_adjustment"
    )
    parser.add_argument("--resume", action="store_true")
    return parser.parse_args()


@dataclass(frozen=True)
class Material:
    """What a run learns from and is judged on."""

    images: Images
    sampler: LesionSampler
    lesions: int
    held_out: HeldOut
    log_prior: Tensor


@dataclass
class State:
    """What a run changes from step to step; all of it is in the checkpoint."""

    member: PooledClassifier
    average: PooledClassifier
    optimizer: torch.optim.AdamW
    epoch: int = 0
    step: int = 0
    seconds: float = 0.0
    best: float = -1.0
    history: list[dict[str, float]] = field(default_factory=list)

    def save(self, path: Path) -> None:
        save_checkpoint(
            path,
            member=self.member,
            average=self.average,
            optimizer=self.optimizer,
            progress={name: getattr(self, name) for name in PROGRESS},
        )

    def restore(self, path: Path) -> None:
        progress = load_checkpoint(
            path, member=self.member, average=self.average, optimizer=self.optimizer
        )
        for name in PROGRESS:
            setattr(self, name, progress[name])


def train_step(
    state: State, batch: tuple[Tensor, Tensor], recipe: Recipe, log_prior: Tensor
) -> tuple[float, float]:
    """One step of gradient descent: loss and accuracy; TrainingError when the loss is no number."""
    inputs, labels = batch
    with torch.autocast("cpu", torch.bfloat16, enabled=recipe.bfloat16):
        logits = state.member(inputs)
    loss = classification_loss(
        IMBALANCE[recipe.imbalance].loss,
        logits.float(),
        labels,
        log_prior=log_prior,
        smoothing=LABEL_SMOOTHING,
    )
    value = float(loss.detach())
    if not math.isfinite(value):
        raise TrainingError(f"the loss became {value}: lower --body-rate, or train in float32")
    state.optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    nn.utils.clip_grad_norm_(state.member.parameters(), 5.0)
    state.optimizer.step()
    state.step += 1
    update_average(state.average, state.member, decay=recipe.average_decay, step=state.step)
    return value, float((logits.argmax(dim=1) == labels).float().mean())


def prepare_material(options: argparse.Namespace) -> Material:
    records = read_metadata(options.metadata)
    images = load_images(records, options.images, options.cache)
    places = read_folds(options.folds)
    rows = training_rows(records, places, held_out=HELD_OUT_FOLD)
    print(class_by_source(records, images, rows), flush=True)
    lesions = group_lesions(records, images, rows)
    generator = np.random.default_rng(options.seed)
    power = IMBALANCE[options.imbalance].sampling_power
    sampler = LesionSampler(lesions, power=power, generator=generator)
    chosen = held_out_rows(records, places, fold=HELD_OUT_FOLD, half="calibrate")
    labels = np.array([records[row].label for row in chosen])
    held_out = HeldOut([images.best(row) for row in chosen], labels)
    log_prior = log_shares(class_weights(lesions, power=power))
    return Material(images, sampler, len(lesions), held_out, log_prior)


def prepare_state(options: argparse.Namespace, recipe: Recipe) -> State:
    """Start weights where the folder has them, random ones else; or where a run stopped."""
    config = MEMBERS[options.member]
    member, average = build_member(config), build_member(config)
    start_weights = options.backbones / f"{config.name}.safetensors"
    if options.start:
        member.load_state_dict(plain_tensors(options.start))
    elif start_weights.exists():
        load_start_weights(member, start_weights)
    average.load_state_dict(member.state_dict())
    to_channels_last(member)
    to_channels_last(average)
    state = State(member, average, make_optimizer(member, recipe))
    if options.resume:
        state.restore(options.out / CHECKPOINT_FILE)
    return state


def finish_epoch(
    state: State, steps: list[tuple[float, float]], material: Material, options: argparse.Namespace
) -> None:
    """Judge the moving average, keep it if it is the best so far, write the checkpoint."""
    labels = material.held_out.labels
    probabilities = predict(state.average, material.held_out, MEMBERS[options.member])
    bma = balanced_accuracy(probabilities, labels)
    accuracy = float((probabilities.argmax(axis=1) == labels).mean())
    loss, training_accuracy = np.mean(steps, axis=0).tolist()
    held_out_loss = negative_log_likelihood(probabilities, labels)
    state.history.append(
        {
            "epoch": state.epoch,
            "step": state.step,
            "loss": loss,
            "held_out_loss": held_out_loss,
            "bma": bma,
            "training_accuracy": training_accuracy,
            "accuracy": accuracy,
            "seconds": state.seconds,
        }
    )
    eta = max(0.0, options.minutes - state.seconds / 60.0)
    print(
        f"\repoch {state.epoch} loss {loss:.3f} BMA {bma:.3f} accuracy {accuracy:.3f} "
        f"ETA {eta:.1f} min",
        flush=True,
    )
    if bma >= state.best:
        state.best = bma
        tensors = {name: value.contiguous() for name, value in state.average.state_dict().items()}
        save_file(tensors, options.out / WEIGHTS_FILE)
    state.save(options.out / CHECKPOINT_FILE)


def write_run(state: State, options: argparse.Namespace, origin: dict[str, object]) -> None:
    run = {
        "member": options.member,
        "best_bma": state.best,
        "seconds": state.seconds,
        "steps": state.step,
        "history": state.history,
        "provenance": origin,
    }
    (options.out / RUN_FILE).write_text(json.dumps(run, indent=2), encoding="utf-8")


def main() -> None:
    options = parse_options()
    config = MEMBERS[options.member]
    recipe = chosen_recipe(options)
    torch.manual_seed(options.seed)
    generator = torch.Generator().manual_seed(options.seed)
    options.out.mkdir(parents=True, exist_ok=True)
    material = prepare_material(options)
    origin = provenance(options, material.images, recipe)
    state = prepare_state(options, recipe)
    steps_per_epoch = max(1, material.lesions // recipe.batch)
    budget = options.minutes * 60.0
    started = time.monotonic() - state.seconds

    while state.seconds < budget:
        state.member.train()
        steps: list[tuple[float, float]] = []
        while len(steps) < steps_per_epoch and state.seconds < budget:
            set_learning_rate(state.optimizer, learning_rate_factor(state.seconds / budget))
            pictures, labels = load_batch(material.images, material.sampler.batch(recipe.batch))
            views = augment(pictures, size=config.input_size, generator=generator)
            inputs = normalise(views, config).contiguous(memory_format=torch.channels_last)
            steps.append(train_step(state, (inputs, labels), recipe, material.log_prior))
            state.seconds = time.monotonic() - started
            if state.step % _REPORT_STEPS == 0:
                show_progress(state, steps, minutes=options.minutes)
        state.epoch += 1
        finish_epoch(state, steps, material, options)
        state.seconds = time.monotonic() - started
    write_run(state, options, origin)


if __name__ == "__main__":
    try:
        main()
    except (TrainingError, ImageDataError, LabelDataError, LeakError) as error:
        sys.exit(f"ml.train: {error}")
