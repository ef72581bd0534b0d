"""Writes every member of a bundle with weights and activations of 8 bits, for the gate to judge.

    python -m tools.quantise && python -m ml.engine_gate --quantised runs/int8

Static post-training quantisation by NNCF. The ranges of the activations are those of photos that
the members learned from, never of the held-out fold.
"""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
import openvino
from openvino._offline_transformations import apply_moc_transformations

from ml.arrays import Pixels
from ml.artifact import live_bundle, load_bundle
from ml.dataset import decode_images, training_rows
from ml.engine_openvino import to_openvino
from ml.folds import DEFAULT_METADATA, read_folds, read_metadata
from ml.out_of_fold import Held
from ml.preprocess import squares_of
from ml.served_member import ServedMember
from ml.train import DEFAULT_IMAGES, HELD_OUT_FOLD

PHOTOS: Final = 300
OUT: Final = Path("runs/int8")
SEED: Final = 0


def calibration_photos(images: Path, metadata: Path) -> Sequence[Pixels]:
    """Photos of the training folds, drawn by a fixed seed."""
    records = read_metadata(metadata)
    rows = training_rows(records, read_folds(), held_out=HELD_OUT_FOLD)
    drawn = np.random.default_rng(SEED).choice(rows, PHOTOS, replace=False)
    chosen = [records[row] for row in sorted(drawn)]
    return Held.of(chosen, decode_images(chosen, images), range(len(chosen))).photos


def quantised(model: openvino.Model, squares: Pixels) -> openvino.Model:
    """Quantise a member's body; the head and the class maps, which share its weights, stay."""
    os.environ["NNCF_CI"] = "1"  # Else NNCF reports its use over the internet.
    import nncf  # noqa: PLC0415 - a package of the developers' alone

    # NNCF finds biases, which it corrects, only in the simplified graph.
    apply_moc_transformations(model, cf=True)
    whole = [
        node.get_friendly_name()
        for node in model.get_ordered_ops()
        if node.get_type_name() in {"Convolution", "MatMul"}
        and ".body." not in node.get_friendly_name()
    ]
    ranges = nncf.quantization.range_estimator.RangeEstimatorParametersSet.MINMAX
    return nncf.quantize(
        model,
        nncf.Dataset([square[np.newaxis] for square in squares]),
        subset_size=len(squares),
        preset=nncf.QuantizationPreset.MIXED,
        ignored_scope=nncf.IgnoredScope(names=whole),
        advanced_parameters=nncf.AdvancedQuantizationParameters(
            activations_range_estimator_params=ranges
        ),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bundle", type=Path, help="folder of a bundle (default: the live one)")
    parser.add_argument("--images", type=Path, default=DEFAULT_IMAGES)
    parser.add_argument("--metadata", type=Path, default=DEFAULT_METADATA)
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args()
    bundle = load_bundle(options.bundle or live_bundle())
    photos = calibration_photos(options.images, options.metadata)
    for entry in bundle.manifest.members:
        name = entry.config.name
        model = to_openvino(ServedMember(bundle.members[name], entry.config))
        squares = squares_of(photos, entry.config.input_size)
        openvino.save_model(quantised(model, squares), options.out / f"{name}.xml")
        print(options.out / f"{name}.xml")


if __name__ == "__main__":
    main()
