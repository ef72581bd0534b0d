"""Draws a dermoscopy-like lesion from a seed, so that no patient's photo is needed.

It is a drawing and says so: in a caption outside the middle square and in the file's metadata.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

DEFAULT_SIZE: Final = (1200, 900)
DESCRIPTION: Final = (
    "Drawn by a program, no photo of a person (DermQueue lesion drawing, seed {seed})"
)
_IMAGE_DESCRIPTION_TAG: Final = 0x010E
_JPEG_QUALITY: Final = 92

Field = NDArray[np.float64]


@dataclass(frozen=True)
class _Canvas:
    """Coordinates of each pixel around the middle, in halves of the shorter side.

    Skin tone: 0 for the lightest, 1 for the darkest that is drawn.
    """

    x: Field
    y: Field
    skin_tone: float
    generator: np.random.Generator

    @property
    def shape(self) -> tuple[int, int]:
        return self.x.shape[0], self.x.shape[1]

    def noise(self, cells: int) -> Field:
        """Smooth noise in about -1..1 with this many cells along the shorter side."""
        height, width = self.shape
        unit = min(height, width) / cells
        rows, columns = int(height / unit) + 2, int(width / unit) + 2
        coarse = self.generator.normal(size=(rows, columns)).astype(np.float32)
        smooth = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
        return np.asarray(smooth, dtype=np.float64)


def _canvas(size: tuple[int, int], seed: int) -> _Canvas:
    width, height = size
    half = min(size) / 2.0
    x = (np.arange(width) - (width - 1) / 2.0) / half
    y = (np.arange(height) - (height - 1) / 2.0) / half
    columns, rows = np.meshgrid(x, y)
    generator = np.random.default_rng(seed)
    return _Canvas(columns, rows, float(generator.uniform(0.0, 1.0)), generator)


def _skin(canvas: _Canvas) -> Field:
    """Skin of a random tone with soft blotches, fine furrows and grain: [h, w, 3] in 0..1."""
    light, deep = np.array([0.88, 0.70, 0.63]), np.array([0.62, 0.43, 0.35])
    base = light * (1.0 - canvas.skin_tone) + deep * canvas.skin_tone
    blotches = 0.03 * canvas.noise(5) + 0.015 * canvas.noise(20)
    angle = canvas.generator.uniform(0.0, np.pi)
    along = canvas.x * np.cos(angle) + canvas.y * np.sin(angle)
    furrows = 0.006 * np.sin(90.0 * along + 1.2 * canvas.noise(6))
    grain = 0.018 * canvas.generator.normal(size=canvas.shape)
    return np.asarray(base + (blotches + furrows + grain)[..., None])


def _depth(canvas: _Canvas) -> Field:
    """Signed depth inside an irregular outline: positive within, falling to minus outside."""
    generator = canvas.generator
    x = canvas.x - generator.uniform(-0.12, 0.12)
    y = canvas.y - generator.uniform(-0.12, 0.12)
    stretch = generator.uniform(0.75, 1.0)
    angle = np.arctan2(y, x)
    radius = generator.uniform(0.42, 0.62) * np.ones_like(angle)
    for wave in range(2, 8):
        phase = generator.uniform(0.0, 2.0 * np.pi)
        radius += generator.uniform(0.0, 0.09) / np.sqrt(wave) * np.sin(wave * angle + phase)
    distance: Field = radius - np.hypot(x / stretch, y * stretch)
    return distance + 0.035 * canvas.noise(14)


def _network(canvas: _Canvas) -> Field:
    """Weave a pigment network: thin dark lines (1) around pale holes (0)."""
    pitch = canvas.generator.uniform(38.0, 60.0)
    bend = 1.2 * canvas.noise(9)
    waves = [
        np.sin(pitch * (canvas.x * np.cos(turn) + canvas.y * np.sin(turn)) + bend)
        for turn in (0.2, 0.2 + np.pi / 3.0, 0.2 + 2.0 * np.pi / 3.0)
    ]
    return np.asarray(1.0 - np.clip(np.abs(sum(waves)) / 0.9, 0.0, 1.0))


def _pigment(canvas: _Canvas) -> Field:
    """Brown of varying depth, with a reddish and a blue-grey field: [h, w, 3]."""
    variation = canvas.generator.uniform(0.10, 0.30)
    darkness = np.clip(0.5 + variation * canvas.noise(4) + 0.12 * canvas.noise(11), 0.0, 1.0)
    brown, dark = np.array([0.58, 0.36, 0.24]), np.array([0.20, 0.12, 0.10])
    colour = brown * (1.0 - darkness[..., None]) + dark * darkness[..., None]
    for tint, strength in (((0.10, -0.03, -0.02), 1.0), ((-0.05, 0.01, 0.09), 0.8)):
        field = np.clip(canvas.noise(3), 0.0, 1.0)[..., None]
        colour = colour + strength * field * np.array(tint)
    lines = _network(canvas)[..., None]
    return np.asarray(colour * (1.25 - 0.5 * lines) * (1.0 - 0.4 * canvas.skin_tone))


def _vignette(canvas: _Canvas) -> Field:
    """Light it as a dermatoscope does: even in the middle, darker towards the corners."""
    return np.asarray(1.0 - 0.22 * np.clip(np.hypot(canvas.x, canvas.y) - 0.6, 0.0, 1.0) ** 1.5)


def _caption(image: Image.Image) -> None:
    """Write "drawn" beside the middle square, or in the lower corner of a square picture."""
    draw = ImageDraw.Draw(image)
    size = max(10, min(image.size) // 30)
    draw.text((size // 2, image.height - 2 * size), "drawn", fill=(255, 255, 255), font_size=size)


def draw_lesion(seed: int, size: tuple[int, int] = DEFAULT_SIZE) -> Image.Image:
    """RGB picture of `size` (width, height) in pixels; the same seed gives the same picture."""
    canvas = _canvas(size, seed)
    skin = _skin(canvas)
    depth = _depth(canvas)
    edge = canvas.generator.uniform(0.02, 0.07)
    inside = (1.0 / (1.0 + np.exp(-depth / edge)))[..., None]
    colour = (skin * (1.0 - inside) + _pigment(canvas) * inside) * _vignette(canvas)[..., None]
    pixels = (np.clip(colour, 0.0, 1.0) * 255.0).round().astype(np.uint8)
    image = Image.fromarray(pixels)
    _caption(image)
    return image


def save_drawn(path: Path, seed: int, size: tuple[int, int] = DEFAULT_SIZE) -> None:
    """Write a JPEG whose comment and EXIF description say that it is drawn."""
    description = DESCRIPTION.format(seed=seed)
    exif = Image.Exif()
    exif[_IMAGE_DESCRIPTION_TAG] = description
    draw_lesion(seed, size).save(
        path, format="JPEG", quality=_JPEG_QUALITY, exif=exif, comment=description.encode()
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("path", type=Path)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    save_drawn(options.path, options.seed)


if __name__ == "__main__":
    main()
