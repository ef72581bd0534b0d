"""Train members of the ensemble, with one loop for two CPU cores and for a GPU.

`python -m ml.train --member efficientnet_b0 --minutes 22 --out runs/efficientnet_b0` trains one
member on a CPU; the learning rate follows the clock, so that a run ends with a finished schedule.
`python -m ml.train --recipe gpu` trains every member on every fold on a GPU, by epochs. Each epoch
is judged on one half of the held-out fold, and the best average of the weights is kept. `--resume`
goes on from the last epoch's checkpoint and skips what is finished.
"""

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from ml.augment import augment
from ml.checkpoint import save_tensors
from ml.folds import FOLDS, FOLDS_FILE, METADATA_NAME, LabelDataError, LeakError
from ml.held_out import HELD_OUT_FILE, HeldOutLogits, write_held_out
from ml.image_source import ImageDataError
from ml.imbalance import IMBALANCE
from ml.members import MEMBERS
from ml.metrics import balanced_accuracy, negative_log_likelihood
from ml.preprocess import normalise
from ml.provenance import command_line, provenance
from ml.recipes import DEFAULT_IMBALANCE, RECIPES, Budget
from ml.sampler import Draws, class_by_source
from ml.training_data import Pool, Source, load_batch, predict, read_source
from ml.training_manifest import TrainingManifestError
from ml.training_run import CHECKPOINT_FILE, Job, Run, prepare_device, prepare_run
from ml.training_state import TrainingError, load_weights, set_learning_rate
from ml.training_step import Batch, train_step, within_memory

DEFAULT_IMAGES: Final = Path("../shared/data/ham10000")
DEFAULT_BACKBONES: Final = Path("../shared/data/backbones")
DEFAULT_CACHE: Final = Path(".cache")
HELD_OUT_FOLD: Final = 0
WEIGHTS_FILE: Final = "member.safetensors"
RUN_FILE: Final = "run.json"
EXPECTED: Final = (
    TrainingError,
    TrainingManifestError,
    ImageDataError,
    LabelDataError,
    LeakError,
)
_REPORT_STEPS: Final = 20
_LINE: Final = 79


def make_batch(run: Run, draws: Draws) -> Batch:
    """Augmented, normalised inputs, channels last, and their labels."""
    config = run.job.recipe.config
    pictures, labels = load_batch(run.pool, draws)
    views = augment(pictures, size=config.input_size, generator=run.generator)
    return normalise(views, config).contiguous(memory_format=torch.channels_last), labels


def learn(run: Run, draws: Draws) -> Tensor:
    """One step: loss and accuracy [2], on the device."""
    return train_step(run.state, make_batch(run, draws), run.job.recipe, run.log_prior)


def seed_epoch(run: Run) -> None:
    """Chances of an epoch depend on its number alone, so that a resumed run takes the same."""
    seeds = np.random.SeedSequence((run.job.seed, run.job.fold, run.state.epoch))
    dropout, views = (int(value) for value in seeds.generate_state(2))
    torch.manual_seed(dropout)
    run.generator.manual_seed(views)


def checked_mean(sums: Tensor, steps: int) -> list[float]:
    """Mean loss and accuracy of the steps; TrainingError when the loss is no number."""
    mean: list[float] = (sums / steps).tolist()
    if not np.isfinite(mean[0]):
        raise TrainingError(f"the loss became {mean[0]}: lower --body-rate")
    return mean


def show_progress(run: Run, loss: float, *, views: int = 0, end: str = "") -> None:
    """One line that writes over itself: the epoch under way, loss, latest BMA and time to go."""
    state, spent = run.state, run.spent(views)
    eta = state.seconds * max(0.0, 1.0 - spent) / spent / 60.0
    bma = f"{state.history[-1]['bma']:.3f}" if state.history else "-"
    epoch = state.epoch + views / run.epoch_views
    line = f"epoch {epoch:.1f}  loss {loss:.3f}  BMA {bma}  ETA {eta:.1f} min"
    print(f"\r{line:{_LINE}}", end=end, flush=True)


def train_epoch(run: Run, started: float) -> list[float]:
    """One view of as many lesions as there are: mean loss and accuracy of the steps."""
    state = run.state
    draws = run.sampler.draw(run.epoch_views)
    seed_epoch(run)
    state.member.train()
    sums, steps, views = torch.zeros(2, device=run.pool.device), 0, 0
    while views + state.batch <= len(draws) and run.spent(views) < 1.0:
        set_learning_rate(state.optimizer, run.learning_rate_factor(views))
        drawn = draws.part(views, state.batch)
        result = within_memory(state, partial(learn, run, drawn))
        if result is None:
            print(f"\nout of memory: going on with batches of {state.batch}", flush=True)
            continue
        sums += result
        steps += 1
        views += len(drawn)
        state.seconds = time.monotonic() - started
        if steps % _REPORT_STEPS == 0:
            show_progress(run, checked_mean(sums, steps)[0], views=views)
    state.epoch += 1
    return checked_mean(sums, steps)


def judge_epoch(run: Run, *, loss: float, training_accuracy: float) -> None:
    """Judge the moving average on the half that may choose; keep it if it is the best so far."""
    state, held_out = run.state, run.held_out
    squares, labels = held_out.squares[: held_out.choosing], held_out.labels[: held_out.choosing]
    logits = predict(state.average, squares, run.job.recipe.config, batch=state.batch)
    probabilities = torch.from_numpy(logits).double().softmax(dim=1).numpy()
    bma = balanced_accuracy(probabilities, labels)
    state.history.append(
        {
            "epoch": state.epoch,
            "step": state.step,
            "loss": loss,
            "held_out_loss": negative_log_likelihood(probabilities, labels),
            "bma": bma,
            "training_accuracy": training_accuracy,
            "accuracy": float((probabilities.argmax(axis=1) == labels).mean()),
            "seconds": state.seconds,
        }
    )
    if bma >= state.best:
        state.best = bma
        save_tensors(run.job.out / WEIGHTS_FILE, state.average.state_dict())


def train(run: Run) -> None:
    """Epochs until the budget is spent."""
    state = run.state
    started = time.monotonic() - state.seconds
    while run.spent() < 1.0:
        loss, accuracy = train_epoch(run, started)
        judge_epoch(run, loss=loss, training_accuracy=accuracy)
        state.seconds = time.monotonic() - started
        state.save(run.job.out / CHECKPOINT_FILE)
        show_progress(run, loss, end="\n")


def finish(run: Run, origin: dict[str, Any]) -> None:
    """Write the held-out fold's logits by the best weights, then what the run was."""
    job, state, held_out = run.job, run.state, run.held_out
    load_weights(state.average, job.out / WEIGHTS_FILE)
    logits = predict(state.average, held_out.squares, job.recipe.config, batch=state.batch)
    write_held_out(job.out / HELD_OUT_FILE, HeldOutLogits(held_out.image_ids, logits))
    values = {
        "member": job.recipe.config.name,
        "config": asdict(job.recipe.config),
        "best_bma": state.best,
        "seconds": state.seconds,
        "steps": state.step,
        "batches": state.batches,
        "history": state.history,
        "provenance": origin,
    }
    (job.out / RUN_FILE).write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")


def do_jobs(jobs: Sequence[Job], source: Source, *, device: torch.device, command: str) -> None:
    """Train one after the other; on resume those that have their run file are finished."""
    pool = Pool.of(source.images, device)
    for job in jobs:
        if job.resume and (job.out / RUN_FILE).exists():
            print(f"{job.out} is finished")
            continue
        make_folder(job)
        origin = provenance(job, source, command=command, device=device)
        config, lesions = job.recipe.config, source.training_lesions(held_out=job.fold)
        print(f"{config.name} at {config.input_size} px, fold {job.fold} held out")
        print(class_by_source(lesions, first_added=source.first_added), flush=True)
        run = prepare_run(job, lesions, source, pool)
        train(run)
        finish(run, origin)


def make_folder(job: Job) -> None:
    """An empty folder for a run from the start: no file of another run may pass for its own."""
    job.out.mkdir(parents=True, exist_ok=True)
    if not job.resume:
        for name in (WEIGHTS_FILE, RUN_FILE, CHECKPOINT_FILE, HELD_OUT_FILE):
            (job.out / name).unlink(missing_ok=True)


def make_job(options: argparse.Namespace, name: str, fold: int, out: Path) -> Job:
    recipe = replace(RECIPES[options.recipe][name], imbalance=options.imbalance)
    if options.body_rate:
        recipe = replace(recipe, body_rate=options.body_rate)
    budget = Budget(options.epochs or recipe.epochs, "epochs")
    if options.minutes:
        budget = Budget(options.minutes * 60.0, "seconds")
    backbone = options.backbones / f"{name}.safetensors"
    return Job(
        recipe=recipe,
        budget=budget,
        fold=fold,
        out=out,
        start=options.start,
        backbone=backbone if backbone.exists() else None,
        seed=options.seed,
        resume=options.resume,
    )


def plan(options: argparse.Namespace) -> list[Job]:
    """One member with the CPU recipe; all on all folds, as far as options go, with the GPU's."""
    if options.recipe == "cpu":
        fold = HELD_OUT_FOLD if options.fold is None else options.fold
        return [make_job(options, options.member, fold, options.out)]
    members = [options.member] if options.member else list(RECIPES["gpu"])
    folds = range(FOLDS) if options.fold is None else [options.fold]
    return [
        make_job(options, name, fold, options.out / name / f"fold{fold}")
        for fold in folds
        for name in members
    ]


def positive(text: str) -> float:
    value = float(text)
    if not value > 0.0:
        raise argparse.ArgumentTypeError(f"{text} is not more than 0")
    return value


def add_data_options(parser: argparse.ArgumentParser) -> None:
    """Where data and start weights lie, and where the work goes on."""
    parser.add_argument("--images", type=Path, default=DEFAULT_IMAGES, help="folder or zip file")
    parser.add_argument("--metadata", type=Path, help=f"default: {METADATA_NAME} beside the images")
    parser.add_argument("--folds", type=Path, default=FOLDS_FILE)
    parser.add_argument("--backbones", type=Path, default=DEFAULT_BACKBONES)
    parser.add_argument("--cache", type=Path, default=DEFAULT_CACHE)
    parser.add_argument("--device", choices=("cpu", "cuda"))
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--resume", action="store_true")


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--recipe", choices=tuple(RECIPES), default="cpu")
    parser.add_argument("--member", choices=sorted(MEMBERS))
    parser.add_argument("--fold", type=int, choices=range(FOLDS), help="the one held out")
    parser.add_argument("--out", type=Path, help="folder of the run; of all runs on a GPU")
    budget = parser.add_mutually_exclusive_group()
    budget.add_argument("--minutes", type=positive, help="wall time of a run")
    budget.add_argument("--epochs", type=positive, help="instead of those of the recipe")
    parser.add_argument("--start", type=Path, help="go on from the weights of a member")
    parser.add_argument("--body-rate", type=positive, help="peak learning rate of the body")
    parser.add_argument("--imbalance", choices=sorted(IMBALANCE), default=DEFAULT_IMBALANCE)
    parser.add_argument(
        "--add", type=Path, action="append", default=[], help="training manifest to learn from too"
    )
    add_data_options(parser)
    options = parser.parse_args()
    if not options.member and (options.recipe == "cpu" or options.start):
        parser.error("name a --member")
    if not options.out and options.recipe == "cpu":
        parser.error("name the folder --out")
    options.out = options.out or Path("runs")
    options.device = options.device or ("cuda" if options.recipe == "gpu" else "cpu")
    return options


def source_of(options: argparse.Namespace, add: Sequence[Path] = ()) -> Source:
    folder = options.images if options.images.is_dir() else options.images.parent
    return read_source(
        images=options.images,
        metadata=options.metadata or folder / METADATA_NAME,
        folds=options.folds,
        cache=options.cache,
        add=add,
    )


def main() -> None:
    options = parse_options()
    command = command_line("ml.train")
    try:
        device = prepare_device(options.device)
        source = source_of(options, options.add)
        do_jobs(plan(options), source, device=device, command=command)
    except EXPECTED as error:
        sys.exit(f"ml.train: {error}")


if __name__ == "__main__":
    main()
