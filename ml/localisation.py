"""Where a heat-map lies against the mask of the lesion, beside what chance would give.

Maps are [n, side, side], not negative; masks are bool of the same shape. A map is read by the order
and the shares of its cells, so each figure is free of the map's scale. Cells of one value share
what falls to them; a map that is zero everywhere is therefore spread evenly and scores as the area
of the mask, which is the chance of a map that knows nothing.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ml.arrays import Floats, HeatMap, Labels
from ml.labels import CLASSES
from ml.metrics import ratio_with_interval

Masks = NDArray[np.bool_]
TOP_SHARE: Final = 0.2
GAUSSIAN_SIGMA: Final = 0.25
_SAME: Final = 1e-6


def _cells(maps: HeatMap | Masks) -> Floats:
    return maps.reshape(len(maps), -1).astype(np.float64)


def pointing_hit(maps: HeatMap, masks: Masks) -> Floats:
    """[n]: 1 when the highest cell lies in the mask (the pointing game of Zhang et al. 2016).

    Of several highest cells, the share that lies in the mask.
    """
    cells = _cells(maps)
    highest = cells >= cells.max(axis=1, keepdims=True) - _SAME
    hits: Floats = (highest * _cells(masks)).sum(axis=1) / highest.sum(axis=1)
    return hits


def energy_in_mask(maps: HeatMap, masks: Masks) -> Floats:
    """[n]: share of the map's sum that lies in the mask (Wang et al. 2020, energy pointing)."""
    cells, inside = _cells(maps), _cells(masks)
    cells[cells.sum(axis=1) == 0.0] = 1.0
    energy: Floats = (cells * inside).sum(axis=1) / cells.sum(axis=1)
    return energy


def iou_of_top(maps: HeatMap, masks: Masks) -> Floats:
    """[n]: intersection over union of the mask and the highest fifth of the map's cells.

    Cells level with the last of that fifth count in part, so that it is always a fifth.
    """
    cells, inside = _cells(maps), _cells(masks)
    size = TOP_SHARE * cells.shape[1]
    limit = np.quantile(cells, 1.0 - TOP_SHARE, axis=1, keepdims=True, method="higher")
    above = cells > limit + _SAME
    level = (cells >= limit - _SAME) & ~above
    part = (size - above.sum(axis=1, keepdims=True)) / level.sum(axis=1, keepdims=True)
    top = above + part * level
    common = (top * inside).sum(axis=1)
    iou: Floats = common / (size + inside.sum(axis=1) - common)
    return iou


MEASURES: Final[dict[str, Callable[[HeatMap, Masks], Floats]]] = {
    "pointing_hit": pointing_hit,
    "energy_in_mask": energy_in_mask,
    "iou_top_20": iou_of_top,
}


def centred_gaussian(side: int) -> HeatMap:
    """[side, side]: what one draws who knows only that the lesion is in the middle.

    Its standard deviation is GAUSSIAN_SIGMA of the side.
    """
    place = (np.arange(side) + 0.5) / side - 0.5
    line = np.exp(-0.5 * (place / GAUSSIAN_SIGMA) ** 2)
    return np.outer(line, line).astype(np.float32)


def _figure(
    values: Floats, area: Floats, gaussian: Floats, groups: Sequence[str]
) -> dict[str, Any]:
    value, interval = ratio_with_interval(values, np.ones_like(values), groups)
    lift_area, area_interval = ratio_with_interval(values, area, groups)
    lift_gaussian, gaussian_interval = ratio_with_interval(values, gaussian, groups)
    return {
        "value": value,
        "interval": interval,
        "chance_area": float(area.mean()),
        "chance_gaussian": float(gaussian.mean()),
        "lift_area": lift_area,
        "lift_area_interval": area_interval,
        "lift_gaussian": lift_gaussian,
        "lift_gaussian_interval": gaussian_interval,
    }


def localise(maps: HeatMap, masks: Masks, labels: Labels, groups: Sequence[str]) -> dict[str, Any]:
    """All figures of one kind of map: overall, and under "by_class" for each class that occurs.

    Chance by area is a map of one value everywhere, chance by Gaussian a centred_gaussian. A lift
    is the mean figure over the mean of its chance: the mean of single ratios would be ruled by the
    smallest lesions. "empty_maps" counts the maps without any evidence, which are scored too.
    """
    gaussian = np.broadcast_to(centred_gaussian(maps.shape[1]), maps.shape)
    even = np.ones_like(maps)
    scores = {
        name: (measure(maps, masks), measure(even, masks), measure(gaussian, masks))
        for name, measure in MEASURES.items()
    }
    empty = maps.max(axis=(1, 2)) == 0.0

    def figures(chosen: NDArray[np.bool_]) -> dict[str, Any]:
        lesions = [group for group, kept in zip(groups, chosen, strict=True) if kept]
        return {
            "n": int(chosen.sum()),
            "empty_maps": int(empty[chosen].sum()),
            **{
                name: _figure(value[chosen], area[chosen], centred[chosen], lesions)
                for name, (value, area, centred) in scores.items()
            },
        }

    return {
        **figures(np.ones(len(maps), dtype=bool)),
        "by_class": {
            name: figures(labels == index)
            for index, name in enumerate(CLASSES)
            if (labels == index).any()
        },
    }
