"""The label of the model in use, from its manifest: what was measured, in words."""

import hashlib
import json
from pathlib import Path
from typing import Any

from ml.labels import CLASSES, CLINICAL_NAMES

_NOT_KNOWN = "not known"

_SECTIONS = (
    ("Intended use", "Decides how fast a dermatologist looks at a case. Never clears a patient."),
    ("Intended user", "Dermatologists who read photos that patients send."),
    (
        "Training data",
        (
            "HAM10000 (Tschandl, Rosendahl, Kittler, Scientific Data 5:180161, 2018), 10,015 "
            "dermoscopic images, licence CC BY-NC 4.0: the model is for non-commercial use."
        ),
    ),
    (
        "Algorithm",
        (
            "The mean of three networks (basic CNN, EfficientNet-B0, Inception-v3), calibrated by "
            "one temperature."
        ),
    ),
    ("Validation", "On lesions of the same data set that no network saw in training."),
    (
        "Limits",
        (
            "Trained on pictures taken through a skin lens, mostly of fair skin. Photos taken "
            "without a lens differ; the page then says so."
        ),
    ),
    ("Adverse events", "Tell the clinic; the case is read again by a person."),
)


def live_manifest(weights: Path) -> bytes | None:
    """The manifest of the bundle in service, named by the file LIVE; None where there is none."""
    pointer = weights / "LIVE"
    if not pointer.is_file():
        return None
    manifest = weights / Path(pointer.read_text(encoding="utf-8").strip()).name / "manifest.json"
    return manifest.read_bytes() if manifest.is_file() else None


def label_of(raw: bytes) -> dict[str, Any]:
    """The label as values for the page; a figure that was not measured says so."""
    manifest: dict[str, Any] = json.loads(raw)
    metrics = manifest.get("metrics", {})
    ensemble = metrics.get("ensemble", {})
    return {
        "version": manifest.get("version", _NOT_KNOWN),
        "fingerprint": hashlib.sha256(raw).hexdigest(),
        "sections": [{"title": title, "text": text} for title, text in _SECTIONS],
        "metrics": _metric_rows(metrics, ensemble),
        "classes": _class_rows(ensemble),
        "tones": [{"tone": "All skin tones", "result": "Not known: the data has no tone labels."}],
    }


def _metric_rows(metrics: dict[str, Any], ensemble: dict[str, Any]) -> list[dict[str, str]]:
    names = (
        ("bma", "Balanced accuracy over the seven groups"),
        ("accuracy", "Accuracy"),
        ("macro_auc", "Mean area under the ROC curve"),
        ("ece", "Calibration error"),
    )
    rows = [
        {"name": words, "value": _number(ensemble.get(key)), "interval": _interval(ensemble, key)}
        for key, words in names
    ]
    triage = metrics.get("triage", {})
    for key, words in (
        ("melanoma_sensitivity", "Melanomas sent on as suspicious or urgent"),
        ("malignant_sensitivity", "Malignant lesions sent on as suspicious or urgent"),
        ("specificity", "Harmless lesions left as routine"),
    ):
        rows.append(
            {"name": words, "value": _number(triage.get(key)), "interval": _interval(triage, key)}
        )
    return rows


def _class_rows(ensemble: dict[str, Any]) -> list[dict[str, Any]]:
    recall, support = ensemble.get("recall", {}), ensemble.get("support", {})
    return [
        {
            "label": CLINICAL_NAMES[name],
            "recall": _number(recall.get(name)),
            "cases": support.get(name, _NOT_KNOWN),
        }
        for name in CLASSES
    ]


def _number(value: Any) -> str:
    return f"{value:.3f}" if isinstance(value, int | float) else _NOT_KNOWN


def _interval(values: dict[str, Any], key: str) -> str:
    found = values.get(f"{key}_interval")
    return f"{found[0]:.3f} to {found[1]:.3f}" if found else ""
