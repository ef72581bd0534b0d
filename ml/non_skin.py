"""Pictures that show no skin, to try the outlier score on: photos, documents, noise, blank frames.

The photos come with scikit-image, scikit-learn and matplotlib (development requirements), cut at
random places. None of these pictures was used to fit anything.
"""

from collections.abc import Iterator, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

import numpy as np
from PIL import Image, ImageDraw
from sklearn.metrics import roc_auc_score

from ml.arrays import Floats, Pixels
from ml.triage import Policy

SIDE: Final = 224
_SEED: Final = 5
_CUTS: Final = 14
_PHOTOS: Final = {
    "skimage.data": (
        *("astronaut.png", "brick.png", "camera.png", "chelsea.png", "clock_motion.png"),
        *("coffee.png", "coins.png", "color.png", "grass.png", "gravel.png"),
        *("hubble_deep_field.jpg", "moon.png", "motorcycle_left.png", "rocket.jpg"),
    ),
    "sklearn.datasets.images": ("china.jpg", "flower.jpg"),
    "matplotlib": ("mpl-data/sample_data/grace_hopper.jpg",),
}
_LETTERS: Final = "abcdefghijklmnopqrstuvwxyz"


def _cuts(picture: Image.Image, random: np.random.Generator) -> Iterator[Pixels]:
    """Squares of a third of the picture to all of it."""
    for _ in range(_CUTS):
        side = int(min(picture.size) * random.uniform(0.35, 1.0))
        left, top = (int(random.integers(0, length - side + 1)) for length in picture.size)
        cut = picture.crop((left, top, left + side, top + side))
        yield np.asarray(cut.resize((SIDE, SIDE), Image.Resampling.BICUBIC))


def _photos(random: np.random.Generator) -> dict[str, Pixels]:
    cuts = {}
    for package, names in _PHOTOS.items():
        for name in names:
            with files(package).joinpath(name).open("rb") as file, Image.open(file) as picture:
                for number, cut in enumerate(_cuts(picture.convert("RGB"), random)):
                    cuts[f"{Path(name).stem} {number}"] = cut
    return cuts


def _document(random: np.random.Generator) -> Pixels:
    """Lines of words on light paper."""
    page = Image.new("RGB", (320, 320), tuple(int(tone) for tone in random.integers(200, 256, 3)))
    pen = ImageDraw.Draw(page)
    for line in range(0, 320, int(random.integers(10, 26))):
        words = " ".join(
            "".join(random.choice(list(_LETTERS), int(random.integers(2, 9)))) for _ in range(9)
        )
        ink = tuple(int(tone) for tone in random.integers(0, 90, 3))
        pen.text((int(random.integers(0, 20)), line), words, fill=ink)
    return np.asarray(page)


def _noise(random: np.random.Generator, number: int) -> Pixels:
    """Coloured and grey noise by turns."""
    if number % 2:
        return random.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
    grey = random.normal(random.uniform(60, 200), random.uniform(3, 40), (SIDE, SIDE, 1))
    return np.repeat(np.clip(grey, 0, 255).astype(np.uint8), 3, axis=2)


def _blank(random: np.random.Generator, number: int) -> Pixels:
    """One colour: any, and every third time that of skin."""
    colour = random.integers(0, 256, 3)
    if number % 3 == 0:
        colour = np.array([220, 170, 150]) + random.integers(-20, 21, 3)
    return np.full((SIDE, SIDE, 3), colour, np.uint8)


def non_skin_pictures() -> dict[str, dict[str, Pixels]]:
    """Kind -> name -> uint8 picture [h, w, 3]; always the same ones."""
    random = np.random.default_rng(_SEED)
    return {
        "photos": _photos(random),
        "documents": {f"document {number}": _document(random) for number in range(40)},
        "noise": {f"noise {number}": _noise(random, number) for number in range(40)},
        "blank": {f"blank {number}": _blank(random, number) for number in range(40)},
    }


def non_skin_figures(
    scores: Mapping[str, Mapping[str, float]], real: Floats, policy: Policy
) -> dict[str, Any]:
    """Tell outlier scores of pictures without skin from those of real, held-out photos.

    AUROC overall and by kind; shares beyond both marks; the pictures below both marks by name.
    """
    everything = np.concatenate([list(of_kind.values()) for of_kind in scores.values()])

    def area(strange: Floats) -> float:
        truth = np.r_[np.zeros(len(real)), np.ones(len(strange))]
        return float(roc_auc_score(truth, np.r_[real, strange]))

    return {
        "n": len(everything),
        "auroc": area(everything),
        "auroc_by_kind": {
            kind: area(np.array(list(of_kind.values()))) for kind, of_kind in scores.items()
        },
        "called_not_skin": float((everything > policy.not_skin).mean()),
        "called_unusual_or_not_skin": float((everything > policy.unusual).mean()),
        "real_called_not_skin": float((real > policy.not_skin).mean()),
        "real_called_unusual_or_not_skin": float((real > policy.unusual).mean()),
        "accepted": sorted(
            name
            for of_kind in scores.values()
            for name, score in of_kind.items()
            if score <= policy.unusual
        ),
    }
