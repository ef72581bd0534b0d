"""MODEL_CARD.md of a bundle, written from its manifest: `python -m ml.model_card [FOLDER]`."""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from ml.artifact import Manifest, live_bundle, read_manifest
from ml.labels import CLASSES, CLINICAL_NAMES

CARD_FILE: Final = "MODEL_CARD.md"
# The table of the paper that this project builds on; kept apart from our figures on purpose.
_PAPER: Final = (
    ("Basic CNN", 0.85, 0.82, 0.88, 0.35),
    ("EfficientNet", 0.92, 0.89, 0.94, 0.20),
    ("Inception", 0.91, 0.88, 0.93, 0.22),
)


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _ranged(value: float | None, interval: list[float] | None) -> str:
    if value is None or interval is None:
        return "-"
    return f"{value:.3f} ({interval[0]:.3f} to {interval[1]:.3f})"


def _head(manifest: Manifest, fingerprint: str) -> Iterator[str]:
    yield f"# Model card: skin lesion ensemble {manifest.version}"
    yield ""
    yield "Written by `python -m ml.model_card` from the manifest beside it; do not edit."
    yield ""
    yield f"- Fingerprint (sha256 of the manifest): `{fingerprint}`"
    yield "- What it is: three networks that sort one dermoscopic photo into seven diagnoses, so"
    yield "  that a dermatologist sees the urgent cases first. It is not a medical device, gives no"
    yield "  diagnosis and never clears a case: a person reviews every one."
    yield f"- Data: {manifest.provenance.get('data', 'not recorded')}. The weights carry the same"
    yield "  limit: non-commercial use only."
    yield ""


def _training(manifest: Manifest) -> Iterator[str]:
    yield "## Training"
    yield ""
    yield "A short training on two shared CPU cores; a longer one would be better. Folds 1 to 4"
    yield "trained, fold 0 was held out; no lesion is on both sides. Classes were drawn by the"
    yield "number of their lesions to the power 0.3; plain cross-entropy, label smoothing 0.05, a"
    yield "moving average of the weights. The ensemble is the plain mean of the members, then one"
    yield f"temperature ({manifest.temperature:.3f}), set on one half of the held-out fold."
    yield ""
    yield "| member | input | epochs seen | steps | minutes | device |"
    yield "|---|---|---|---|---|---|"
    runs: dict[str, Any] = manifest.provenance.get("runs", {})
    for entry in manifest.members:
        run = runs.get(entry.config.name)
        if run:
            yield (
                f"| {entry.config.name} | {entry.config.input_size} px | {len(run['history'])} | "
                f"{run['steps']} | {run['seconds'] / 60.0:.0f} | {run['provenance']['device']} |"
            )
    yield ""


def _summary_row(name: str, figures: dict[str, Any]) -> str:
    cells = (
        _ranged(figures["bma"], figures["bma_interval"]),
        *(_figure(figures[key]) for key in ("accuracy", "macro_f1", "macro_auc", "ece", "brier")),
    )
    return f"| {name} | {' | '.join(cells)} |"


def _figures(metrics: dict[str, Any]) -> Iterator[str]:
    yield "## Figures"
    yield ""
    yield f"Measured on {metrics['n']} photos of {metrics['lesions']} lesions:"
    yield f"{metrics['held_out']}. Intervals are 95 % bootstraps over lesions. BMA is the mean"
    yield "recall of the seven classes."
    yield ""
    yield "| | BMA | accuracy | macro F1 | macro AUC | ECE | Brier |"
    yield "|---|---|---|---|---|---|---|"
    yield _summary_row("ensemble", metrics["ensemble"])
    for name, figures in metrics["members"].items():
        yield _summary_row(name, figures)
    yield ""
    yield "| class | recall | precision |"
    yield "|---|---|---|"
    ensemble = metrics["ensemble"]
    for name in CLASSES:
        recall, precision = ensemble["recall"][name], ensemble["precision"][name]
        yield f"| {CLINICAL_NAMES[name]} ({name}) | {_figure(recall)} | {_figure(precision)} |"
    yield ""


_TRIAGE_ROWS: Final = {
    "melanoma_sensitivity": "melanomas not called routine",
    "malignant_sensitivity": "malignant photos (mel, bcc, akiec) not called routine",
    "specificity": "benign photos called routine",
    "urgent_malignant_sensitivity": "malignant photos called urgent",
    "urgent_specificity": "benign photos not called urgent",
}


def _triage(metrics: dict[str, Any]) -> Iterator[str]:
    yield "## Triage by the photo alone"
    yield ""
    yield "The thresholds aim at 0.97 of melanomas and 0.95 of malignant photos on the half that"
    yield "set them; this is what the other half gave. The history can only raise the urgency."
    yield ""
    yield "| | share | photos |"
    yield "|---|---|---|"
    for key, words in _TRIAGE_ROWS.items():
        figure = metrics["triage"][key]
        yield f"| {words} | {_ranged(figure['value'], figure['interval'])} | {figure['n']} |"
    for prevalence, value in metrics["triage"].get("npv_at_prevalence", {}).items():
        share = f"{float(prevalence):.0%}"
        yield f"| negative predictive value at {share} malignant | {_figure(value)} | |"
    yield ""


def _limits() -> Iterator[str]:
    yield "## Limits"
    yield ""
    yield "- Skin tone: HAM10000 names none; most of its patients have light skin. How well the"
    yield "  ensemble does on darker skin is not known."
    yield "- Two centres, dermoscopic photos only. Photos by a phone's own lens, other lesions and"
    yield "  other centres were not measured: expect worse results there."
    yield "- Squamous cell carcinoma beyond akiec, Merkel cell carcinoma and many others are"
    yield "  not among the seven classes."
    yield "- The rare classes have few held-out lesions: read the intervals, not the points."
    yield "- No part of the official ISIC 2018 test set was used or measured."
    yield ""


def _paper() -> Iterator[str]:
    yield "## What the paper behind this project claims"
    yield ""
    yield "On a random split, where images of one lesion can be on both sides. These are not our"
    yield "figures and do not compare with those above."
    yield ""
    yield "| model | accuracy | F1 | recall | loss |"
    yield "|---|---|---|---|---|"
    for name, *values in _PAPER:
        yield f"| {name} | {' | '.join(f'{value:.2f}' for value in values)} |"


def model_card(manifest: Manifest, fingerprint: str) -> str:
    parts = [*_head(manifest, fingerprint), *_training(manifest)]
    if manifest.metrics:
        parts += [*_figures(manifest.metrics), *_triage(manifest.metrics)]
    return "\n".join([*parts, *_limits(), *_paper()]) + "\n"


def write_model_card(folder: Path) -> None:
    manifest, fingerprint = read_manifest(folder)
    (folder / CARD_FILE).write_text(model_card(manifest, fingerprint), encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?", help="a bundle (default: the live one)")
    write_model_card(parser.parse_args().folder or live_bundle())


if __name__ == "__main__":
    main()
