"""The pictures of an evaluation, drawn without a screen."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from sklearn.metrics import roc_curve

from ml.arrays import Floats, Labels
from ml.labels import CLASSES, MALIGNANT
from ml.metrics import confusion, reliability, risk_coverage

# Okabe and Ito (2008): told apart by people with any colour vision.
_COLOURS: Final = ("#000000", "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00")
_GREY: Final = "#767676"


def _save(path: Path, draw: Callable[[Axes], None], *, title: str) -> None:
    figure = Figure(figsize=(6.4, 5.2), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    draw(axes)
    axes.set_title(title, loc="left", fontsize=11)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    figure.savefig(path, dpi=120)


def confusion_picture(path: Path, named: Labels, labels: Labels) -> None:
    """Counts, coloured by the share of the true class."""
    counts = confusion(named, labels)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1.0)

    def draw(axes: Axes) -> None:
        axes.imshow(shares, cmap="Blues", vmin=0.0, vmax=1.0)
        for true, predicted in np.ndindex(*counts.shape):
            dark = shares[true, predicted] > 0.5
            words = f"{counts[true, predicted]:.0f}"
            axes.text(predicted, true, words, ha="center", va="center", color="w" if dark else "k")
        axes.set_xticks(range(len(CLASSES)), CLASSES)
        axes.set_yticks(range(len(CLASSES)), CLASSES)
        axes.set_xlabel("named by the ensemble")
        axes.set_ylabel("true class")

    _save(path, draw, title="Confusion matrix, photos (colour: share of the true class)")


def roc_picture(path: Path, probabilities: Floats, labels: Labels) -> None:
    """One curve for each class against the rest, and one for any malignant class."""

    def draw(axes: Axes) -> None:
        axes.plot([0, 1], [0, 1], color=_GREY, linewidth=0.8, linestyle=":")
        curves = [
            (name, labels == index, probabilities[:, index], colour, 1.2)
            for index, (name, colour) in enumerate(zip(CLASSES, _COLOURS, strict=True))
        ]
        malignant = [CLASSES.index(name) for name in CLASSES if name in MALIGNANT]
        together = probabilities[:, malignant].sum(axis=1)
        curves.append(("any malignant", np.isin(labels, malignant), together, "#a00000", 2.4))
        for name, truth, scores, colour, width in curves:
            if 0 < truth.sum() < len(truth):
                false_share, true_share, _ = roc_curve(truth, scores)
                axes.plot(false_share, true_share, color=colour, linewidth=width, label=name)
        axes.set_xlabel("1 - specificity")
        axes.set_ylabel("sensitivity")
        if axes.get_legend_handles_labels()[0]:
            axes.legend(loc="lower right", frameon=False)

    _save(path, draw, title="ROC, each class against the rest")


def reliability_picture(path: Path, probabilities: Floats, labels: Labels) -> None:
    """Accuracy against confidence; the area of a dot is the number of photos."""
    bins = reliability(probabilities, labels)

    def draw(axes: Axes) -> None:
        axes.plot([0, 1], [0, 1], color=_GREY, linewidth=0.8, linestyle=":")
        confidence = [each["confidence"] for each in bins]
        accuracy = [each["accuracy"] for each in bins]
        axes.plot(confidence, accuracy, color=_COLOURS[1], linewidth=1.0)
        sizes = [600.0 * each["n"] / len(labels) + 8.0 for each in bins]
        axes.scatter(confidence, accuracy, s=sizes, color=_COLOURS[1], alpha=0.7)
        axes.set_xlabel("probability of the likeliest class")
        axes.set_ylabel("share of photos where it is right")
        axes.set(xlim=(0, 1), ylim=(0, 1.02))

    _save(path, draw, title="Reliability of the calibrated ensemble")


def risk_coverage_picture(path: Path, probabilities: Floats, labels: Labels) -> None:
    """Error among the surest photos, and what perfect knowledge of one's errors would give."""
    correct = probabilities.argmax(axis=1) == labels
    coverage, errors = risk_coverage(probabilities.max(axis=1), correct)
    _, ideal = risk_coverage(correct.astype(np.float64), correct)

    def draw(axes: Axes) -> None:
        axes.plot(coverage, errors, color=_COLOURS[1], label="by the ensemble's confidence")
        axes.plot(coverage, ideal, color=_GREY, linestyle=":", label="best possible order")
        axes.set_xlabel("share of photos answered, the surest first")
        axes.set_ylabel("share of them answered wrongly")
        axes.set(xlim=(0, 1), ylim=(0, None))
        axes.legend(frameon=False)

    _save(path, draw, title="Risk and coverage")


_CURVES: Final = (
    ("accuracy", (("training_accuracy", "training"), ("accuracy", "held out"))),
    ("loss", (("loss", "training"), ("held_out_loss", "held out"))),
)


def training_pictures(folder: Path, runs: Mapping[str, Mapping[str, Any]]) -> list[Path]:
    """Accuracy and loss of each member by epoch, as its run recorded them."""
    paths = []
    for what, parts in _CURVES:

        def draw(axes: Axes, parts: Sequence[tuple[str, str]] = parts, what: str = what) -> None:
            for (name, run), colour in zip(runs.items(), _COLOURS[1:], strict=False):
                for (key, side), style in zip(parts, (":", "-"), strict=True):
                    points = [(each["epoch"], each[key]) for each in run["history"] if key in each]
                    if points:
                        epochs, values = zip(*points, strict=True)
                        label = f"{name}, {side}"
                        axes.plot(epochs, values, style, color=colour, label=label, marker=".")
            axes.set_xlabel("epoch")
            axes.set_ylabel(what)
            if axes.get_legend_handles_labels()[0]:
                axes.legend(frameon=False, fontsize=8)

        path = folder / f"training_{what}.png"
        _save(path, draw, title=f"Training: {what} of each member")
        paths.append(path)
    return paths


def evaluation_pictures(
    folder: Path, probabilities: Floats, labels: Labels, *, named: Labels
) -> None:
    """Write confusion.png (of the named classes), roc.png, reliability.png, risk_coverage.png."""
    confusion_picture(folder / "confusion.png", named, labels)
    for name, make in (
        ("roc", roc_picture),
        ("reliability", reliability_picture),
        ("risk_coverage", risk_coverage_picture),
    ):
        make(folder / f"{name}.png", probabilities, labels)
