"""Say what the ensemble sees: `python -m ml.predict PHOTO... [--json] [--heatmap DIR]`."""

import argparse
import json
import sys
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from PIL import Image

from ml.arrays import Pixels
from ml.artifact import BundleError, live_bundle
from ml.ensemble import Analysis, Ensemble
from ml.gradcam import blend, overlay_rgba
from ml.image_source import ImageDataError, decode
from ml.labels import CLINICAL_NAMES
from ml.triage import triage


def _read(path: Path) -> Pixels:
    try:
        return decode(path.read_bytes())
    except (ImageDataError, OSError) as error:
        raise ImageDataError(f"{path}: {error}") from error


def describe(path: Path, analysis: Analysis, ensemble: Ensemble) -> dict[str, Any]:
    prediction = analysis.prediction
    decided = triage(prediction, ensemble.policy, quality_flags=analysis.quality.flags)
    return {
        "photo": str(path),
        "probabilities": prediction.probabilities,
        "members": prediction.members,
        "spread": prediction.spread,
        "named_class": prediction.answer,
        "top_class": prediction.top_class,
        "malignant_probability": prediction.malignant_probability,
        "urgency": decided.urgency,
        "reasons": list(decided.reasons),
        "sets": {level: list(names) for level, names in prediction.sets.items()},
        "quality_flags": list(analysis.quality.flags),
        "quality": asdict(analysis.quality.measures),
        "outlier_score": prediction.outlier_score,
        "looked_at": {one.label: one.focus for one in analysis.maps},
        "bundle": ensemble.manifest.version,
        "fingerprint": ensemble.fingerprint,
    }


def _lines(described: dict[str, Any]) -> Iterable[str]:
    yield f"{described['photo']}: {described['urgency']}"
    yield from (f"  {reason}" for reason in described["reasons"])
    for name, share in sorted(described["probabilities"].items(), key=lambda item: -item[1]):
        yield f"  {share:6.1%}  {CLINICAL_NAMES[name]}"
    named = CLINICAL_NAMES[described["named_class"]]
    yield f"  named as if all groups were equally common: {named}"
    for level, names in described["sets"].items():
        yield f"  in {float(level):.0%} of cases one of: {', '.join(names)}"
    yield f"  outlier score {described['outlier_score']:.1f}"
    yield from (f"  evidence for {name}: {place}" for name, place in described["looked_at"].items())
    yield f"  quality: {', '.join(described['quality_flags']) or 'nothing unusual'}"


def _write_heatmaps(folder: Path, path: Path, photo: Pixels, analysis: Analysis) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for one in analysis.maps:
        blended = blend(photo, overlay_rgba(one.heatmap), 0.7)
        Image.fromarray(blended).save(folder / f"{path.stem}_{one.label}.png")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photos", type=Path, nargs="+", metavar="PHOTO")
    parser.add_argument("--json", action="store_true", help="print one JSON list")
    parser.add_argument("--heatmap", type=Path, metavar="DIR", help="write overlays there")
    parser.add_argument("--bundle", type=Path, help="folder of a bundle (default: the live one)")
    options = parser.parse_args()
    try:
        photos = [_read(path) for path in options.photos]
        ensemble = Ensemble.load(options.bundle or live_bundle())
    except (BundleError, ImageDataError) as error:
        sys.exit(f"ml.predict: {error}")
    analyses = ensemble.analyse(photos)
    described = [
        describe(path, analysis, ensemble)
        for path, analysis in zip(options.photos, analyses, strict=True)
    ]
    if options.heatmap:
        for path, photo, analysis in zip(options.photos, photos, analyses, strict=True):
            _write_heatmaps(options.heatmap, path, photo, analysis)
    if options.json:
        print(json.dumps(described, indent=2))
    else:
        print("\n".join(line for item in described for line in _lines(item)))


if __name__ == "__main__":
    main()
