"""Logits of a held-out fold in one safetensors file: what calibration and thresholds stand on."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.numpy import save_file

HELD_OUT_FILE: Final = "held_out.safetensors"


@dataclass(frozen=True)
class HeldOutLogits:
    """Logits float32 [n, classes] of a member that never saw these images' lesions."""

    image_ids: tuple[str, ...]
    logits: NDArray[np.float32]


def write_held_out(path: Path, predicted: HeldOutLogits) -> None:
    metadata = {"image_ids": json.dumps(predicted.image_ids)}
    save_file({"logits": predicted.logits}, path, metadata=metadata)


def read_held_out(path: Path) -> HeldOutLogits:
    with safe_open(path, "numpy") as file:
        image_ids = json.loads(file.metadata()["image_ids"])
        return HeldOutLogits(tuple(image_ids), file.get_tensor("logits"))
