"""From a photo of any size to a network's input: the single way for train, evaluate and serve."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from ml.members import MemberConfig

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Square:
    """The middle square of a photo, in pixels of the photo."""

    left: int
    top: int
    side: int


def middle_square(*, height: int, width: int) -> Square:
    side = min(height, width)
    return Square(left=(width - side) // 2, top=(height - side) // 2, side=side)


def square_of(rgb: Pixels, *, size: int) -> Pixels:
    """The middle square of uint8 [h, w, 3], scaled to uint8 [size, size, 3]."""
    square = middle_square(height=rgb.shape[0], width=rgb.shape[1])
    right, bottom = square.left + square.side, square.top + square.side
    cut = rgb[square.top : bottom, square.left : right]
    if square.side == size:
        return np.ascontiguousarray(cut)
    scaled = Image.fromarray(np.ascontiguousarray(cut)).resize((size, size), Image.Resampling.BICUBIC)
    return np.asarray(scaled)


def normalise(pixels: Tensor, config: MemberConfig) -> Tensor:
    """Float [n, 3, s, s] in 0..1 by the member's own mean and deviation."""
    mean = torch.tensor(config.mean, dtype=pixels.dtype, device=pixels.device).view(1, 3, 1, 1)
    std = torch.tensor(config.std, dtype=pixels.dtype, device=pixels.device).view(1, 3, 1, 1)
    return (pixels - mean) / std


def to_input(photos: Sequence[Pixels], config: MemberConfig) -> Tensor:
    """Float [n, 3, size, size], channels last, of uint8 photos [h, w, 3] of any size."""
    squares = np.stack([square_of(photo, size=config.input_size) for photo in photos])
    pixels = torch.from_numpy(squares).permute(0, 3, 1, 2).float().div_(255.0)
    return normalise(pixels, config).contiguous(memory_format=torch.channels_last)
