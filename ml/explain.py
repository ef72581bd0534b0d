"""Check the heat-maps of a bundle: `python -m ml.explain --masks PATH --out DIR`.

On photos that no part of the bundle has seen: do the maps lie on the lesion, and do they depend on
what the networks learnt? Writes explanation.json and explanation.png. PATH is a folder or a zip
file with a lesion mask IMAGE_segmentation.png for each photo (Tschandl et al. 2020, HAM10000).
"""

import argparse
import json
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

from ml.arrays import HeatMap, Labels, Pixels
from ml.artifact import BundleError, live_bundle, load_bundle
from ml.dataset import held_out_rows, load_images
from ml.ensemble import Ensemble
from ml.folds import DEFAULT_METADATA, LabelDataError, LeakError, read_folds, read_metadata
from ml.geometry import middle_square, square_of
from ml.gradcam import blend, evidence, logits_and_features, on_photo, overlay_rgba, raw_cam
from ml.image_source import ImageDataError, decode, find_images
from ml.labels import CLASS_INDEX, CLASSES
from ml.library_cam import library_cam
from ml.localisation import GAUSSIAN_SIGMA, Masks, localise
from ml.members import PooledClassifier
from ml.preprocess import to_input
from ml.randomisation import cascade
from ml.train import DEFAULT_CACHE, DEFAULT_IMAGES, HELD_OUT_FOLD

GRID: Final = 64
SANITY_PHOTOS: Final = 50
SEEDS: Final = (1, 2)
_BATCH: Final = 32
_SCALE_PERCENT: Final = 90.0
_MASK_SUFFIX: Final = "_segmentation"
_EXAMPLES: Final = 6
_OPACITY: Final = 0.7


@dataclass(frozen=True, kw_only=True)
class MaskedPhotos:
    """Photos uint8 [h, w, 3], and the masks [n, GRID, GRID] of their middle squares."""

    photos: Sequence[Pixels]
    masks: Masks
    labels: Labels
    lesions: Sequence[str]


def read_masks(path: Path, image_ids: Sequence[str]) -> Masks:
    """Lesion masks of the middle squares, [n, GRID, GRID]; ImageDataError names missing ones."""
    found = find_images(path)
    missing = [name for name in image_ids if name + _MASK_SUFFIX not in found]
    if missing:
        raise ImageDataError(
            f"{len(missing)} masks are missing under {path}: {', '.join(missing[:20])}"
        )
    files = (found[name + _MASK_SUFFIX][0] for name in image_ids)
    return np.stack([square_of(decode(file.read()), size=GRID)[..., 0] >= 128 for file in files])


def _on_grid(heatmap: HeatMap) -> HeatMap:
    """Bring the map of a photo [h, w] to its middle square [GRID, GRID]."""
    square = middle_square(height=heatmap.shape[0], width=heatmap.shape[1])
    cut = np.ascontiguousarray(heatmap[square.rows, square.columns])
    return np.asarray(Image.fromarray(cut).resize((GRID, GRID), Image.Resampling.BILINEAR))


@dataclass(frozen=True)
class _Maps:
    """Maps by their maker, [n, GRID, GRID], and the class [n] that all of them explain."""

    grad_cam: dict[str, HeatMap]
    grad_cam_plus_plus: dict[str, HeatMap]
    classes: Tensor


def _on_common_scale(maps: Tensor) -> Tensor:
    """Evidence on one scale for all photos, found as that of the bundle is."""
    peaks = maps.amax(dim=(1, 2)).clamp_min(0.0).numpy()
    scale = max(float(np.percentile(peaks, _SCALE_PERCENT)), float(np.finfo(np.float32).tiny))
    return evidence(maps, scale=scale, grid=GRID)


def _draw_maps(
    ensemble: Ensemble, members: Mapping[str, PooledClassifier], photos: Sequence[Pixels]
) -> _Maps:
    """The maps as served and those of each member; all of the class that the ensemble names."""
    served: list[HeatMap] = []
    labels: list[int] = []
    plain: dict[str, list[Tensor]] = defaultdict(list)
    plus: dict[str, list[Tensor]] = defaultdict(list)
    for start in range(0, len(photos), _BATCH):
        batch = photos[start : start + _BATCH]
        analyses = ensemble.analyse(batch)
        served.extend(_on_grid(analysis.maps[0].heatmap) for analysis in analyses)
        named = [CLASS_INDEX[analysis.maps[0].label] for analysis in analyses]
        labels.extend(named)
        classes = torch.tensor(named)
        for entry in ensemble.manifest.members:
            name, member = entry.config.name, members[entry.config.name]
            inputs = to_input(batch, entry.config)
            with torch.inference_mode():
                _, features = logits_and_features(member, inputs)
                cam = raw_cam(member, features, classes)
                plain[name].append(evidence(cam, scale=entry.cam_scale, grid=GRID))
            plus[name].append(library_cam("GradCAMPlusPlus", member, inputs, classes))
        print(f"\r{start + len(batch)}/{len(photos)}", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    plus_maps = {name: _on_common_scale(torch.cat(maps)) for name, maps in plus.items()}
    return _Maps(
        grad_cam={
            "ensemble": np.stack(served),
            **{name: torch.cat(maps).numpy() for name, maps in plain.items()},
        },
        grad_cam_plus_plus={
            "ensemble": torch.stack(list(plus_maps.values())).mean(dim=0).numpy(),
            **{name: maps.numpy() for name, maps in plus_maps.items()},
        },
        classes=torch.tensor(labels),
    )


def _spread_rows(count: int, wanted: int) -> list[int]:
    """At most `wanted` of `count` rows, evenly spread, because tables come sorted by class."""
    return [int(row) for row in np.linspace(0, count - 1, min(count, wanted)).round()]


def measure_explanations(
    ensemble: Ensemble, members: Mapping[str, PooledClassifier], held: MaskedPhotos
) -> dict[str, Any]:
    """All figures of explanation.json on photos that the ensemble has not seen.

    `members` are those of `load_bundle` for the same bundle, with their batch norms. "localisation"
    holds, for Grad-CAM (the closed form; its "ensemble" is the map as served) and for Grad-CAM++
    (its "ensemble" is the mean of the members, each on one scale for all photos), the ensemble and
    each member, what ml.localisation.localise gives. Its classes are the true ones; the maps
    explain the class that the ensemble names. "randomisation" holds for each member the cascade of
    ml.randomisation over SANITY_PHOTOS photos and SEEDS.
    """
    maps = _draw_maps(ensemble, members, held.photos)
    rows = _spread_rows(len(held.photos), SANITY_PHOTOS)
    sample = [held.photos[row] for row in rows]
    return {
        "n": len(held.photos),
        "lesions": len(set(held.lesions)),
        "gaussian_sigma": GAUSSIAN_SIGMA,
        "localisation": {
            method: {
                maker: localise(of_maker, held.masks, held.labels, held.lesions)
                for maker, of_maker in kinds.items()
            }
            for method, kinds in (
                ("grad_cam", maps.grad_cam),
                ("grad_cam_plus_plus", maps.grad_cam_plus_plus),
            )
        },
        "randomisation_photos": len(rows),
        "randomisation_seeds": len(SEEDS),
        "randomisation": {
            entry.config.name: [
                asdict(agreement)
                for agreement in cascade(
                    members[entry.config.name],
                    to_input(sample, entry.config),
                    maps.classes[rows],
                    seeds=SEEDS,
                )
            ]
            for entry in ensemble.manifest.members
        },
    }


def draw_examples(path: Path, ensemble: Ensemble, held: MaskedPhotos) -> None:
    """The first photo of each of six classes, its mask outlined, without and with its map."""
    _, firsts = np.unique(held.labels, return_index=True)
    rows = [int(row) for row in firsts[:_EXAMPLES]]
    photos = [held.photos[row] for row in rows]
    figure = Figure(figsize=(2.4 * len(rows), 5.2), layout="constrained")
    axes = figure.subplots(2, len(rows), squeeze=False)
    for column, (row, photo, analysis) in enumerate(
        zip(rows, photos, ensemble.analyse(photos), strict=True)
    ):
        height, width = photo.shape[:2]
        outline = on_photo(held.masks[row].astype(np.float32), height=height, width=width)
        explained = blend(photo, overlay_rgba(analysis.maps[0].heatmap), _OPACITY)
        for axis, picture in zip(axes[:, column], (photo, explained), strict=True):
            axis.imshow(picture)
            axis.contour(outline, levels=[0.5], colors="white", linewidths=1.2)
            axis.set_axis_off()
        truth = CLASSES[held.labels[row]]
        axes[0, column].set_title(f"is {truth}\nmap of {analysis.maps[0].label}", fontsize=9)
    figure.savefig(path, dpi=110)


def load_held_out(*, images: Path, masks: Path, limit: int | None) -> MaskedPhotos:
    """The half of the held-out fold that is kept for figures, or `limit` photos spread over it."""
    records = read_metadata(DEFAULT_METADATA)
    pictures = load_images(records, images, DEFAULT_CACHE)
    rows = held_out_rows(records, read_folds(), fold=HELD_OUT_FOLD, half="report")
    chosen = [rows[place] for place in _spread_rows(len(rows), limit or len(rows))]
    return MaskedPhotos(
        photos=[pictures.best(row) for row in chosen],
        masks=read_masks(masks, [records[row].image_id for row in chosen]),
        labels=np.array([records[row].label for row in chosen]),
        lesions=[records[row].lesion_id for row in chosen],
    )


def _lines(figures: dict[str, Any]) -> list[str]:
    lines = [f"{figures['n']} photos of {figures['lesions']} lesions"]
    for method, kinds in figures["localisation"].items():
        for maker, values in kinds.items():
            energy = values["energy_in_mask"]
            low, high = energy["lift_area_interval"]
            lines.append(
                f"{method} {maker}: pointing {values['pointing_hit']['value']:.3f}, "
                f"energy {energy['value']:.3f} = {energy['lift_area']:.2f} ({low:.2f} to "
                f"{high:.2f}) x area, {energy['lift_gaussian']:.2f} x Gaussian, "
                f"IoU {values['iou_top_20']['value']:.3f}, {values['empty_maps']} empty"
            )
    for name, curve in figures["randomisation"].items():
        signed = " ".join(f"{point['rank_correlation']:.2f}" for point in curve)
        strength = " ".join(f"{point['rank_correlation_strength']:.2f}" for point in curve)
        lines.append(f"{name}, head first, rank correlation: {signed}")
        lines.append(f"{name}, its strength (chance {curve[0]['chance_strength']:.2f}): {strength}")
    return lines


def explain(*, bundle: Path, held: MaskedPhotos, out: Path) -> dict[str, Any]:
    """Measure a bundle and write the two files."""
    ensemble = Ensemble.load(bundle)
    members = load_bundle(bundle).members
    figures = {"bundle": ensemble.manifest.version, "fingerprint": ensemble.fingerprint,
               **measure_explanations(ensemble, members, held)}  # fmt: skip
    out.mkdir(parents=True, exist_ok=True)
    (out / "explanation.json").write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    draw_examples(out / "explanation.png", ensemble, held)
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--masks", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--images", type=Path, default=DEFAULT_IMAGES)
    parser.add_argument("--bundle", type=Path, help="folder of a bundle (default: the live one)")
    parser.add_argument("--limit", type=int, help="measure so many photos, spread over the half")
    options = parser.parse_args()
    if options.limit is not None and options.limit < 1:
        parser.error("--limit must be at least 1")
    try:
        held = load_held_out(images=options.images, masks=options.masks, limit=options.limit)
        figures = explain(bundle=options.bundle or live_bundle(), held=held, out=options.out)
    except (BundleError, ImageDataError, LabelDataError, LeakError, OSError) as error:
        sys.exit(f"ml.explain: {error}")
    print("\n".join(_lines(figures)))


if __name__ == "__main__":
    main()
