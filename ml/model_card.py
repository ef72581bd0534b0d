"""MODEL_CARD.md of a bundle, written from its manifest: `python -m ml.model_card [FOLDER]`.

The portal shows the same text at /ai-label.
"""

import argparse
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

from ml.artifact import Manifest, live_bundle, read_manifest
from ml.labels import CLASSES, CLINICAL_NAMES

CARD_FILE: Final = "MODEL_CARD.md"
# The table of the paper that this project builds on: accuracy, F1, recall, loss, on a random split.
_PAPER: Final = {
    "basic_cnn": ("Basic CNN", 0.85, 0.82, 0.88, 0.35),
    "efficientnet_b0": ("EfficientNet", 0.92, 0.89, 0.94, 0.20),
    "inception_v3": ("Inception", 0.91, 0.88, 0.93, 0.22),
}
_MEMBER_NAMES: Final = {
    "basic_cnn": "Basic CNN (own)",
    "efficientnet_b0": "EfficientNet-B0",
    "inception_v3": "Inception-v3",
}

Lines = Iterator[str]


def figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def ranged(share: dict[str, Any] | None) -> str:
    """A share with its interval, or a dash where too few photos bear on it."""
    if share is None or share["value"] is None:
        return "-"
    low, high = share["interval"]
    return f"{share['value']:.3f} ({low:.3f} to {high:.3f})"


def _table(header: Iterable[str], rows: Iterable[Iterable[object]]) -> Lines:
    titles = list(header)
    yield f"| {' | '.join(titles)} |"
    yield f"|{'---|' * len(titles)}"
    for row in rows:
        yield f"| {' | '.join(str(cell) for cell in row)} |"
    yield ""


def _head(manifest: Manifest, fingerprint: str) -> Lines:
    yield f"# Model card: skin lesion ensemble {manifest.version}"
    yield ""
    yield "Written by `python -m ml.model_card` from the manifest beside it; do not edit."
    yield ""
    yield f"- Fingerprint (sha256 of the manifest): `{fingerprint}`"
    yield f"- Data: {manifest.provenance.get('data', 'not recorded')}."
    yield "- Licence of the weights: that of the data, for non-commercial use only."
    yield ""
    yield "## Intended use"
    yield ""
    yield "Three networks sort one dermoscopic photo into seven diagnoses, so that a dermatologist"
    yield "sees the urgent cases first. The ensemble decides only how fast a person looks. It is"
    yield "not a medical device, gives no diagnosis and never clears a case: a dermatologist reads"
    yield "every one. Everything that makes its answer less certain can raise the urgency and can"
    yield "never lower it."
    yield ""
    yield "Not intended for: decisions without a dermatologist, photos of mucosa, nails or hair,"
    yield "children, any use by patients alone."
    yield ""


def _training(manifest: Manifest) -> Lines:
    runs: dict[str, Any] = manifest.provenance.get("runs", {})
    if not runs:
        return
    yield "## Training"
    yield ""
    yield "Folds 1 to 4 of ml/folds.csv trained, fold 0 was held out; no lesion is on both sides."
    yield "Each run kept the epoch with the best balanced accuracy (BMA) on one half of fold 0,"
    yield "the half that later set prevalence, temperature, sets and thresholds. Members learn as"
    yield "if all classes were equally common; their mean, weighted by votes, times the prevalence"
    yield f"of the data to the power {manifest.named_power:.1f} names a class."
    yield "The probabilities are that mean times the prevalence of the data to the power"
    yield f"{manifest.prevalence_power:.2f}, at one temperature ({manifest.temperature:.3f})."
    yield ""
    rows = []
    for entry in manifest.members:
        run = runs[entry.config.name]
        origin = run.get("provenance", {})
        recipe = origin.get("recipe", {})
        rows.append(
            (
                _MEMBER_NAMES[entry.config.name],
                f"{entry.vote:g}",
                f"{entry.config.input_size} px",
                len(run["history"]),
                run.get("steps", "-"),
                f"{run.get('seconds', 0.0) / 60.0:.0f}",
                recipe.get("imbalance", "soft_sampling"),
                origin.get("start", "start weights"),
                origin.get("device", "-"),
            )
        )
    yield from _table(
        ("member", "vote", "input", "epochs", "steps", "minutes", "imbalance", "from", "device"),
        rows,
    )
    votes = manifest.provenance.get("votes", {})
    if votes:
        yield (
            f"BMA of the ensemble on the half that sets thresholds: "
            f"{votes['calibrate_bma_fixed_votes']:.3f} with these votes, "
            f"{votes['calibrate_bma_equal_votes']:.3f} with equal ones."
        )
        yield ""


def headline(metrics: dict[str, Any]) -> list[str]:
    """Rows of the table in README: BMA, accuracy, macro AUC and calibration error of each."""
    rows = [("ensemble", metrics["ensemble"])]
    rows += [(_MEMBER_NAMES[name], own) for name, own in metrics["members"].items()]
    return [
        f"| {name} | {ranged({'value': own['bma'], 'interval': own['bma_interval']})} | "
        f"{figure(own['accuracy'])} | {figure(own['macro_auc'])} | {figure(own['ece'])} |"
        for name, own in rows
    ]


def _figures(metrics: dict[str, Any]) -> Lines:
    ensemble = metrics["ensemble"]
    yield "## Figures"
    yield ""
    yield f"Measured on {metrics['n']} photos of {metrics['lesions']} lesions:"
    yield f"{metrics.get('held_out', 'see the command')}. Intervals are 95 % bootstraps over"
    yield "lesions. BMA is the mean recall of the seven classes. Recall, precision, F1, accuracy,"
    yield "BMA are of the class that the ensemble names; AUC, ECE, Brier are of its calibrated"
    yield "probabilities. The likeliest class alone has accuracy"
    yield f"{figure(ensemble['likeliest_accuracy'])} and BMA {figure(ensemble['likeliest_bma'])}."
    yield ""
    rows = [("**ensemble**", ensemble)]
    rows += [(_MEMBER_NAMES[name], own) for name, own in metrics["members"].items()]
    keys = ("accuracy", "macro_f1", "macro_auc", "ece", "classwise_ece", "brier")
    yield from _table(
        ("", "BMA", "accuracy", "macro F1", "macro AUC", "ECE", "classwise ECE", "Brier"),
        (
            (
                name,
                ranged({"value": own["bma"], "interval": own["bma_interval"]}),
                *(figure(own[key]) for key in keys),
            )
            for name, own in rows
        ),
    )
    yield from _table(
        ("class", "photos", "recall", "precision", "F1", "AUC"),
        (
            (
                f"{CLINICAL_NAMES[name]} ({name})",
                ensemble["support"][name],
                *(figure(ensemble[key][name]) for key in ("recall", "precision", "f1", "auc")),
            )
            for name in CLASSES
        ),
    )


_TRIAGE_ROWS: Final = {
    "melanoma_sensitivity": "melanomas not called routine",
    "malignant_sensitivity": "malignant photos (mel, bcc, akiec) not called routine",
    "specificity": "benign photos called routine",
    "urgent_malignant_sensitivity": "malignant photos called urgent",
    "urgent_specificity": "benign photos not called urgent",
}


def _triage(metrics: dict[str, Any]) -> Lines:
    yield "## Triage by the photo alone"
    yield ""
    yield "The operating point aims at 0.97 of melanomas and 0.95 of malignant photos, with so few"
    yield "misses allowed on the half that set it that a worse rule would seldom keep to them. This"
    yield "is what the other half gave. The history can only raise the urgency."
    yield ""
    shares = metrics["triage"]
    rows: list[tuple[object, ...]] = [
        (words, ranged(shares[key]), shares[key]["n"]) for key, words in _TRIAGE_ROWS.items()
    ]
    rows += [
        (f"negative predictive value at {float(prevalence):.0%} malignant", figure(value), "")
        for prevalence, value in shares.get("npv_at_prevalence", {}).items()
    ]
    yield from _table(("", "share", "photos"), rows)


def _uncertainty(metrics: dict[str, Any]) -> Lines:
    yield "## How sure it is"
    yield ""
    yield "Prediction sets (class-conditional conformal) hold the true class in about as many"
    yield "cases as they promise:"
    yield ""
    conformal = metrics["conformal"]
    yield from _table(
        ("set", "overall", *("mel", "bcc", "akiec"), "mean size"),
        (
            (
                f"{float(level):.0%}",
                ranged(own["coverage"]),
                *(ranged(own["by_class"][name]) for name in ("mel", "bcc", "akiec")),
                f"{own['mean_set_size']:.2f}",
            )
            for level, own in conformal.items()
        ),
    )
    selective = metrics["selective"]
    at_error = selective["coverage_at_error"]
    yield f"Of the photos, the surest first, {at_error['0.05']:.0%} can be answered with at most"
    yield f"5 % errors and {at_error['0.10']:.0%} with at most 10 %. The ensemble abstains, by"
    yield f"expected cost, on {ranged(selective['abstained'])}: there the likeliest class is wrong"
    yield f"in {ranged(selective['error_where_abstained'])}, elsewhere in"
    yield f"{ranged(selective['error_elsewhere'])}."
    yield ""


def _non_skin(figures: dict[str, Any]) -> Lines:
    yield "## Pictures that show no skin"
    yield ""
    yield f"The outlier score tells {figures['n']} pictures without skin from real ones with AUROC"
    yield f"{figure(figures['auroc'])}:"
    yield ""
    yield from _table(
        ("kind", "AUROC"),
        ((kind, figure(area)) for kind, area in figures["auroc_by_kind"].items()),
    )
    yield f"Beyond the mark for unusual photos: {figures['called_unusual_or_not_skin']:.1%} of them"
    yield f"and {figures['real_called_unusual_or_not_skin']:.1%} of real photos; beyond that for"
    yield f"no skin: {figures['called_not_skin']:.1%} and {figures['real_called_not_skin']:.1%}."
    accepted = ", ".join(figures["accepted"]) or "none"
    yield f"Taken for ordinary photos: {accepted}."
    yield ""


def _explanation(figures: dict[str, Any]) -> Lines:
    yield "## Do the heat-maps mean anything?"
    yield ""
    yield f"Measured on {figures['n']} photos with masks of their lesions. Energy is the share of a"
    yield "map inside the lesion; its lift is against a map of one value everywhere (area), and"
    yield "against a Gaussian in the middle, which knows only that lesions are in the middle."
    yield ""
    rows = []
    for method, title in (("grad_cam", "Grad-CAM"), ("grad_cam_plus_plus", "Grad-CAM++")):
        for maker, own in figures["localisation"][method].items():
            energy = own["energy_in_mask"]
            lift = {"value": energy["lift_area"], "interval": energy["lift_area_interval"]}
            rows.append(
                (
                    f"{title}, {_MEMBER_NAMES.get(maker, maker)}",
                    figure(own["pointing_hit"]["value"]),
                    figure(energy["value"]),
                    ranged(lift),
                    figure(energy["lift_gaussian"]),
                    figure(own["iou_top_20"]["value"]),
                )
            )
    yield from _table(
        ("map", "pointing hit", "energy", "lift, area", "lift, Gaussian", "IoU of top 20 %"), rows
    )
    chance = figures["localisation"]["grad_cam"]["ensemble"]
    yield f"Chance by area: pointing {figure(chance['pointing_hit']['chance_area'])}, IoU"
    yield f"{figure(chance['iou_top_20']['chance_area'])}; by the Gaussian: pointing"
    yield f"{figure(chance['pointing_hit']['chance_gaussian'])}, IoU"
    yield f"{figure(chance['iou_top_20']['chance_gaussian'])}."
    yield ""
    yield "With all weights random, the rank correlation of the map with the true one is"
    ends = (
        f"{figure(curve[-1]['rank_correlation'])} ({_MEMBER_NAMES[name]})"
        for name, curve in figures["randomisation"].items()
    )
    yield f"{', '.join(ends)}: maps show what was learnt and not only the photo."
    yield ""


_GROUP_COLUMNS: Final = {
    "accuracy": "accuracy",
    "melanoma_recall": "melanoma recall",
    "melanoma_sensitivity": "melanomas not routine",
    "malignant_sensitivity": "malignant not routine",
    "specificity": "benign routine",
}


def _subgroups(groups: dict[str, Any]) -> Lines:
    yield "## Groups"
    yield ""
    yield "With 95 % intervals; a dash where fewer than ten photos bear on a figure."
    yield ""
    for attribute, of_value in groups.items():
        yield from _table(
            (attribute, "photos", *_GROUP_COLUMNS.values()),
            (
                (
                    value,
                    own["accuracy"]["n"] if own["accuracy"] else "under 10",
                    *(ranged(own[key]) for key in _GROUP_COLUMNS),
                )
                for value, own in of_value.items()
            ),
        )


def _limits() -> Lines:
    yield "## What is not known, and limits"
    yield ""
    yield "- Skin tone: HAM10000 names none; most of its patients have light skin. How well the"
    yield "  ensemble does on darker skin is not known."
    yield "- Two centres, dermoscopic photos only. Photos by a phone's own lens, other lesions and"
    yield "  other centres were not measured: expect worse results there."
    yield "- Squamous cell carcinoma beyond akiec, Merkel cell carcinoma and many others are"
    yield "  not among the seven classes."
    yield "- The rare classes have few held-out lesions: read the intervals, not the points."
    yield "- Prediction sets rest on photos of which some show the same lesion, which strict theory"
    yield "  does not allow; the measured coverage stands above."
    yield "- No part of the official ISIC 2018 test set was used or measured."
    yield ""


def _paper(manifest: Manifest) -> Lines:
    """The paper's table beside ours."""
    yield "## Beside the paper that this project builds on"
    yield ""
    yield "Its figures are claims made on a random split, where images of one lesion can be on both"
    yield "sides; ours are measured on lesions never seen. They do not compare."
    yield ""
    members = manifest.metrics["members"]
    sizes, runs = manifest.provenance["sizes"], manifest.provenance["runs"]
    rows: list[tuple[object, ...]] = []
    for name, own in members.items():
        size = sizes[name]
        keys = ("accuracy", "macro_f1", "macro_recall", "loss")
        rows.append(
            (
                f"{_MEMBER_NAMES[name]}, ours",
                f"{size['parameters'] / 1e6:.1f} M",
                f"{size['macs'] / 1e9:.2f} G",
                *(figure(own[key]) for key in keys),
                f"{runs[name]['seconds'] / 60.0:.0f} min",
            )
        )
        title, *claims = _PAPER[name]
        rows.append((f"{title}, the paper", "-", "-", *(f"{claim:.2f}" for claim in claims), "-"))
    yield from _table(
        ("network", "parameters", "MACs", "accuracy", "F1", "recall", "loss", "training time"),
        rows,
    )


def model_card(manifest: Manifest, fingerprint: str) -> str:
    """The card as Markdown; parts that were not measured are left out."""
    metrics = manifest.metrics
    parts = [*_head(manifest, fingerprint), *_training(manifest)]
    if metrics:
        parts += [*_figures(metrics), *_triage(metrics), *_uncertainty(metrics)]
    if "non_skin" in metrics:
        parts += _non_skin(metrics["non_skin"])
    if "explanation" in metrics:
        parts += _explanation(metrics["explanation"])
    if "subgroups" in metrics:
        parts += _subgroups(metrics["subgroups"])
    parts += _limits()
    if metrics and "sizes" in manifest.provenance:
        parts += _paper(manifest)
    return "\n".join(parts).rstrip() + "\n"


def write_model_card(folder: Path) -> None:
    manifest, fingerprint = read_manifest(folder)
    (folder / CARD_FILE).write_text(model_card(manifest, fingerprint), encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?", help="a bundle (default: the live one)")
    write_model_card(parser.parse_args().folder or live_bundle())


if __name__ == "__main__":
    main()
