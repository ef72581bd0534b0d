"""Grad-CAM of networks that end in global average pooling and one linear layer, in closed form.

There the gradient of a logit by a feature map is its weight over the map's area, so the map is one
product of head and features (Zhou et al. 2016, Selvaraju et al. 2017) and needs no backward pass.
"""

import io
from typing import Final

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from ml.arrays import HeatMap, Pixels
from ml.focus import THIRDS, Focus
from ml.geometry import middle_square
from ml.members import PooledClassifier

# Evidence and its colour (red, green, blue, alpha): violet, green, yellow, since skin is red.
# Lightness and strength rise with it, so it also reads in grey. Held-out photos mostly lie between
# 0.1 and 0.6.
_STOPS: Final = (
    (0.0, (70, 20, 110, 0)),
    (0.1, (70, 40, 125, 30)),
    (0.25, (50, 100, 145, 115)),
    (0.4, (30, 160, 135, 165)),
    (0.6, (120, 210, 80, 195)),
    (1.0, (255, 235, 60, 220)),
)

# Below this, a map is as good as clear: see the colours above.
_FAINT: Final = 0.1
# Evidence over more of the square than this is at no one place.
_WIDE: Final = 1.0 / 3.0
# Of one place, so much of the evidence lies within a third of the side from its middle.
_TOGETHER: Final = 0.6

_STEPS: Final = 256
_QUICK: Final = 4  # of PNG's levels 0..9: higher ones take longer and save little


def logits_and_features(member: PooledClassifier, inputs: Tensor) -> tuple[Tensor, Tensor]:
    """Logits [n, classes] and feature maps [n, channels, h, w] of one forward pass."""
    features: Tensor = member.body(inputs)
    logits: Tensor = member.head(member.dropout(features.mean(dim=(2, 3))))
    return logits, features


def class_maps(member: PooledClassifier, features: Tensor) -> Tensor:
    """[n, classes, h, w] in logits, before any clipping: a mean plus the head's bias is a logit."""
    return functional.conv2d(features, member.head.weight[:, :, None, None])


def raw_cam(member: PooledClassifier, features: Tensor, classes: Tensor) -> Tensor:
    """Of each photo the map [n, h, w] of one class."""
    return class_maps(member, features)[torch.arange(len(classes)), classes]


def evidence(cam: Tensor, *, scale: float, grid: int) -> Tensor:
    """Evidence for the class, 0..1 on a scale that is the same for all photos, [n, grid, grid]."""
    positive = (cam.clamp_min(0.0) / scale).clamp_max(1.0)
    enlarged = functional.interpolate(
        positive.unsqueeze(1), size=grid, mode="bilinear", align_corners=False
    )
    return enlarged.squeeze(1)


def focus_of(square_map: HeatMap) -> Focus:
    """Where the stronger half of the evidence lies in the map [grid, grid] of the middle square."""
    peak = float(square_map.max())
    if peak < _FAINT:
        return Focus.NOWHERE
    strong = np.where(square_map >= peak / 2.0, square_map, 0.0)
    if (strong > 0.0).mean() > _WIDE:
        return Focus.ALL_OVER
    # Middles of pixels as shares of the side.
    places = (np.indices(strong.shape) + 0.5) / np.array(strong.shape)[:, None, None]
    middle = (places * strong).sum(axis=(1, 2)) / strong.sum()
    near = np.hypot(*(places - middle[:, None, None])) <= 1.0 / 3.0
    if strong[near].sum() < _TOGETHER * strong.sum():
        return Focus.SEVERAL
    row, column = (int(3.0 * share) for share in middle)
    return THIRDS[row][column]


def on_photo(square_map: HeatMap, *, height: int, width: int) -> HeatMap:
    """Lay the map of the middle square over the whole photo; outside the square it is zero."""
    square = middle_square(height=height, width=width)
    heat = np.zeros((height, width), dtype=np.float32)
    scaled = Image.fromarray(square_map).resize(
        (square.side, square.side), Image.Resampling.BILINEAR
    )
    heat[square.rows, square.columns] = np.clip(np.asarray(scaled), 0.0, 1.0)
    return heat


def _colours() -> Pixels:
    """The overlay's colour [256, 4] of each of 256 steps of evidence."""
    steps = np.linspace(0.0, 1.0, _STEPS)
    positions = [position for position, *_ in _STOPS]
    levels = np.array([colour for _, colour in _STOPS], dtype=np.float64).T
    return (
        np.stack([np.interp(steps, positions, row) for row in levels], axis=1)
        .round()
        .astype(np.uint8)
    )


def _in_steps(heatmap: HeatMap) -> Pixels:
    return (heatmap * (_STEPS - 1)).round().astype(np.uint8)


def overlay_rgba(heatmap: HeatMap) -> Pixels:
    """uint8 [h, w, 4] to lay over the photo: no evidence is wholly clear.

    The colours are the same for the same evidence on every photo; only their spacing favours the
    range in which evidence mostly lies.
    """
    return _colours()[_in_steps(heatmap)]


def overlay_png(heatmap: HeatMap) -> bytes:
    """`overlay_rgba` as a PNG with a palette: a quarter of the bytes, and quick to pack."""
    image = Image.fromarray(_in_steps(heatmap)).convert("P")
    colours = _colours()
    image.putpalette(colours[:, :3].tobytes())
    out = io.BytesIO()
    image.save(out, "PNG", transparency=colours[:, 3].tobytes(), compress_level=_QUICK)
    return out.getvalue()


def blend(rgb: Pixels, rgba: Pixels, opacity: float) -> Pixels:
    """Lay the overlay on the photo; opacity 0 gives the photo itself."""
    alpha = rgba[..., 3:].astype(np.float32) / 255.0 * opacity
    mixed = rgb.astype(np.float32) * (1.0 - alpha) + rgba[..., :3].astype(np.float32) * alpha
    return mixed.round().astype(np.uint8)
