"""From a photo of any size to a network's input: the single way for train, evaluate and serve."""

from collections.abc import Sequence
from functools import cache

import numpy as np
import torch
from torch import Tensor

from ml.arrays import Pixels
from ml.geometry import square_of
from ml.members import MemberConfig


@cache
def scales_of(config: MemberConfig, device: torch.device) -> tuple[Tensor, Tensor]:
    """Mean and deviation [1, 3, 1, 1], copied to a device once: each copy waits for a GPU."""
    with torch.inference_mode(mode=False):
        mean = torch.tensor(config.mean, device=device).view(1, 3, 1, 1)
        return mean, torch.tensor(config.std, device=device).view(1, 3, 1, 1)


def normalise(pixels: Tensor, config: MemberConfig) -> Tensor:
    """Float32 [n, 3, s, s] in 0..1 by the member's own mean and deviation."""
    mean, std = scales_of(config, pixels.device)
    return (pixels - mean) / std


def squares_of(photos: Sequence[Pixels], side: int) -> Pixels:
    """Middle squares uint8 [n, side, side, 3] of uint8 photos [h, w, 3] of any size."""
    return np.stack([square_of(photo, size=side) for photo in photos])


def from_squares(squares: Tensor, config: MemberConfig) -> Tensor:
    """Float [n, 3, size, size], channels last, of uint8 squares [n, size, size, 3]."""
    return scaled(squares, *scales_of(config, squares.device))


def scaled(squares: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """As `from_squares`, with mean and deviation [1, 3, 1, 1]."""
    pixels = squares.permute(0, 3, 1, 2).float().div_(255.0)
    return ((pixels - mean) / std).contiguous(memory_format=torch.channels_last)


def to_input(photos: Sequence[Pixels], config: MemberConfig) -> Tensor:
    """Float [n, 3, size, size], channels last, of uint8 photos [h, w, 3] of any size."""
    return from_squares(torch.from_numpy(squares_of(photos, config.input_size)), config)
