"""Compare the ways to deal with unequal classes: `python -m ml.compare_imbalance --steps 400`.

Trains EfficientNet-B0 on small pictures once with each entry of `ml.imbalance.IMBALANCE`: the same
start weights, seed and number of steps. Writes the figures to ml/imbalance.json and, from them,
the table docs/imbalance.md.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import torch

from ml.calibration import fit_temperature
from ml.held_out import HELD_OUT_FILE, read_held_out
from ml.imbalance import IMBALANCE
from ml.metrics import summarise
from ml.provenance import code_state, command_line, device_name
from ml.recipes import CPU_RECIPES, Budget
from ml.temperature import apply_temperature
from ml.train import (
    EXPECTED,
    HELD_OUT_FOLD,
    RUN_FILE,
    add_data_options,
    do_jobs,
    positive,
    source_of,
)
from ml.training_data import Source
from ml.training_run import Job, prepare_device

MEMBER: Final = "efficientnet_b0"
FIGURES: Final = Path(__file__).with_name("imbalance.json")
TABLE: Final = Path(__file__).parents[1] / "docs" / "imbalance.md"


def jobs_of(options: argparse.Namespace, source: Source) -> list[Job]:
    """One job for each entry, alike but for how it deals with unequal classes."""
    recipe = CPU_RECIPES[MEMBER]
    recipe = replace(recipe, config=replace(recipe.config, input_size=options.size))
    lesions = len(source.training_lesions(held_out=HELD_OUT_FOLD))
    steps_per_epoch = max(1, lesions // recipe.batch)
    backbone = options.backbones / f"{MEMBER}.safetensors"
    return [
        Job(
            recipe=replace(recipe, imbalance=name),
            budget=Budget(options.steps / steps_per_epoch, "epochs"),
            fold=HELD_OUT_FOLD,
            out=options.out / name,
            start=None,
            backbone=backbone if backbone.exists() else None,
            seed=options.seed,
            resume=options.resume,
        )
        for name in IMBALANCE
    ]


def judge(folder: Path, source: Source) -> dict[str, Any]:
    """Figures on the half of the fold that may choose, after one temperature fitted there."""
    rows, choosing = source.held_out_rows(fold=HELD_OUT_FOLD)
    records = [source.records[row] for row in rows[:choosing]]
    predicted = read_held_out(folder / HELD_OUT_FILE)
    place = {image_id: index for index, image_id in enumerate(predicted.image_ids)}
    logits = torch.from_numpy(predicted.logits[[place[record.image_id] for record in records]])
    probabilities = logits.double().softmax(dim=1).numpy()
    labels = torch.tensor([record.label for record in records]).numpy()
    temperature = fit_temperature(probabilities, labels)
    figures = summarise(
        apply_temperature(probabilities, temperature),
        labels,
        [record.lesion_id for record in records],
    )
    run = json.loads((folder / RUN_FILE).read_text(encoding="utf-8"))
    return {
        "bma": figures["bma"],
        "bma_interval": figures["bma_interval"],
        "macro_auc": figures["macro_auc"],
        "melanoma_recall": figures["recall"]["mel"],
        "ece": figures["ece"],
        "temperature": temperature,
        "steps": run["steps"],
        "seconds": run["seconds"],
        "start": run["provenance"]["start"],
    }


def table(values: dict[str, Any]) -> Iterator[str]:
    """Lines of the document; all of them follow from the figures."""
    made = values["made"]
    yield "# Ways to deal with unequal classes, compared"
    yield ""
    yield f"Written by `{made['command']}`"
    yield "from [imbalance.json](../ml/imbalance.json), which holds the figures."
    yield f"{MEMBER} at {made['size']} px, {made['steps']} steps each with the same seed, on"
    yield f"{made['device']}. Judged on {made['images']} images of the half of fold {HELD_OUT_FOLD}"
    yield "that also chose the best epoch and the temperature, so all entries look a little better"
    yield "than they are, and alike. BMA with its 95 % interval, bootstrapped over lesions."
    yield ""
    yield (
        "| entry | draws by lesions to the power | loss | BMA | macro AUC | melanoma recall | ECE "
        "| temperature | minutes |"
    )
    yield "|---|---|---|---|---|---|---|---|---|"
    entries = values["entries"]
    for name in sorted(entries, key=lambda name: -entries[name]["bma"]):
        yield _row(name, entries[name])


def _row(name: str, figures: dict[str, Any]) -> str:
    low, high = figures["bma_interval"]
    cells = (
        f"`{name}`",
        f"{1.0 - IMBALANCE[name].sampling_power:.1f}",
        IMBALANCE[name].loss.replace("_", " "),
        f"{figures['bma']:.3f} ({low:.3f} to {high:.3f})",
        *(_figure(figures[key]) for key in ("macro_auc", "melanoma_recall", "ece", "temperature")),
        f"{figures['seconds'] / 60.0:.1f}",
    )
    return f"| {' | '.join(cells)} |"


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def compare(options: argparse.Namespace) -> None:
    device = prepare_device(options.device or "cpu")
    command = command_line("ml.compare_imbalance")
    source = source_of(options)
    do_jobs(jobs_of(options, source), source, device=device, command=command)
    values = {
        "made": {
            "command": command,
            **code_state(),
            "data_sha256": source.images.data_hash,
            "device": device_name(device),
            "images": source.held_out_rows(fold=HELD_OUT_FOLD)[1],
            "member": MEMBER,
            "seed": options.seed,
            "size": options.size,
            "steps": options.steps,
        },
        "entries": {name: judge(options.out / name, source) for name in IMBALANCE},
    }
    options.figures.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
    options.table.write_text("\n".join(table(values)) + "\n", encoding="utf-8")


def count(text: str) -> int:
    return int(positive(text))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=count, required=True, help="the same for each entry")
    parser.add_argument("--size", type=count, default=128, help="side of the input in pixels")
    parser.add_argument("--out", type=Path, default=Path("runs/imbalance"))
    parser.add_argument("--figures", type=Path, default=FIGURES)
    parser.add_argument("--table", type=Path, default=TABLE)
    add_data_options(parser)
    try:
        compare(parser.parse_args())
    except EXPECTED as error:
        sys.exit(f"ml.compare_imbalance: {error}")


if __name__ == "__main__":
    main()
