"""Random views of a batch of lesions, made at once on the device where the batch lies.

Flips, turns, scale and colour are the changes under which a diagnosis must not change; gamma stands
for exposure, the fault of photos that costs most; down-and-up sampling makes blur say nothing. No
step waits for the device: every size is known beforehand, every chance stays in a tensor.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional

SMALLEST_ZOOM = 0.7
LARGEST_ZOOM = 1.05
SHIFT = 0.08
DEGRADED_SHARE = 0.3
DEGRADED_TO = (0.4, 0.55, 0.7, 0.85)


def _uniform(count: int, low: float, high: float, generator: torch.Generator) -> Tensor:
    return _chances(count, generator) * (high - low) + low


def _chances(count: int, generator: torch.Generator) -> Tensor:
    return torch.rand(count, generator=generator, device=generator.device)


def _turned(images: Tensor, *, size: int, generator: torch.Generator) -> Tensor:
    """Mirror, turn by any angle, zoom and shift; the frame beyond the picture is mirrored in."""
    count = len(images)
    angle = _uniform(count, -math.pi, math.pi, generator)
    zoom = _uniform(count, SMALLEST_ZOOM, LARGEST_ZOOM, generator)
    mirror = torch.where(_chances(count, generator) < 0.5, -1.0, 1.0)
    cosine, sine = angle.cos() * zoom, angle.sin() * zoom
    shift = _uniform(2 * count, -SHIFT, SHIFT, generator).view(2, count)
    rows = torch.stack(
        [cosine * mirror, -sine, shift[0], sine * mirror, cosine, shift[1]], dim=1
    ).view(count, 2, 3)
    grid = functional.affine_grid(rows, [count, 3, size, size], align_corners=False)
    return functional.grid_sample(
        images, grid, mode="bilinear", padding_mode="reflection", align_corners=False
    )


def _recoloured(images: Tensor, generator: torch.Generator) -> Tensor:
    """Brightness, contrast, saturation, illuminant and gamma, drawn anew for each image."""

    def factor(low: float, high: float, channels: int = 1) -> Tensor:
        return _uniform(len(images) * channels, low, high, generator).view(-1, channels, 1, 1)

    mean = images.mean(dim=(1, 2, 3), keepdim=True)
    grey = images.mean(dim=1, keepdim=True)
    changed = (images - mean) * factor(0.75, 1.3) + mean
    changed = (changed - grey) * factor(0.7, 1.3) + grey
    changed = changed * factor(0.8, 1.2) * factor(0.92, 1.08, channels=3)
    return changed.clamp(1e-3, 1.0) ** factor(0.7, 1.4)


def _degraded(images: Tensor, generator: torch.Generator) -> Tensor:
    """Blur some: a few images, whatever their class, lose the detail of a smaller picture."""
    size, count = images.shape[-1], round(DEGRADED_SHARE * len(images))
    if count == 0:
        return images
    chosen = _chances(len(images), generator).argsort()[:count]
    for rows, share in zip(chosen.chunk(len(DEGRADED_TO)), DEGRADED_TO, strict=False):
        small = int(share * size)
        shrunk = functional.interpolate(images[rows], size=small, mode="bilinear", antialias=True)
        images[rows] = functional.interpolate(shrunk, size=size, mode="bilinear")
    return images


def augment(images: Tensor, *, size: int, generator: torch.Generator) -> Tensor:
    """Float [n, 3, s, s] in 0..1 -> [n, 3, size, size] in 0..1, on the generator's device."""
    return _degraded(
        _recoloured(_turned(images, size=size, generator=generator), generator), generator
    )
