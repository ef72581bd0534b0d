"""From a photo of any size to a network's input: the single way for train, evaluate and serve."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from ml.arrays import Pixels
from ml.geometry import square_of
from ml.members import MemberConfig


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
