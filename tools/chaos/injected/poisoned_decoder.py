"""In the worker: photos with a marker hurt the process that decodes them."""

import os
import signal
import time
from pathlib import Path

import worker.decode
import worker.decode_child
from clinic.photo import Rendition, clean_photo
from clinic.photo_limits import PhotoLimits
from worker.decode import DecodeLimits

MARKER = b"CHAOS-POISON-"
SEGFAULT, MEMORY, HANG = (MARKER + kind for kind in (b"segfault", b"memory", b"hang"))
KINDS = (SEGFAULT, MEMORY, HANG)
_BLOCK_BYTES = 64 * 1024 * 1024


def inject(wall_seconds: float) -> None:
    """Reach the decoders too, which get no environment; a hanging one ends after `wall_seconds`."""
    defaults = DecodeLimits.__init__.__kwdefaults__ or {}
    defaults["wall_seconds"] = wall_seconds
    worker.decode.ROOT = Path(os.environ.get("PYTHONPATH", ""))  # type: ignore[misc]
    worker.decode_child.clean_photo = _poisoned  # type: ignore[attr-defined]


def _poisoned(data: bytes, *, limits: PhotoLimits) -> Rendition:
    if SEGFAULT in data:
        os.kill(os.getpid(), signal.SIGSEGV)
    if MEMORY in data:
        _take_all_memory()
    if HANG in data:
        time.sleep(3600)
    return clean_photo(data, limits=limits)


def _take_all_memory() -> None:
    held = []
    while True:
        held.append(bytearray(_BLOCK_BYTES))
