"""The one place that imports torchvision.

The CPU build of torch and torchvision's wheel do not fit each other: torchvision registers a
meta kernel for two compiled operators at import and fails when nobody declared them. Declaring
their schemas first is enough, because no network here calls them.
"""

from types import ModuleType
from typing import Final

import torch

_SCHEMAS: Final = {
    "nms": "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms": "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
}
# A library object takes its declarations back when it dies, so it lives as long as the module.
_libraries: Final[list[torch.library.Library]] = []


def _declare_missing_operators() -> None:
    for name, schema in _SCHEMAS.items():
        if not hasattr(torch.ops.torchvision, name):
            library: torch.library.Library = torch.library.Library(  # type: ignore[no-untyped-call]
                "torchvision", "FRAGMENT"
            )
            library.define(schema)  # type: ignore[no-untyped-call]
            _libraries.append(library)


def torchvision_models() -> ModuleType:
    """`torchvision.models`, importable with or without the compiled operators."""
    _declare_missing_operators()
    # The schemas must stand before the import.
    import torchvision.models  # noqa: PLC0415

    models: ModuleType = torchvision.models
    return models
