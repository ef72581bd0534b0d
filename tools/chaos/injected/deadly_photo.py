"""In the worker: a photo with the marker ends the very process that holds the model."""

import os
import signal

from clinic.envelope import Context, Header, open_body
from clinic.records import sealed_objects

MARKER = b"CHAOS-DEADLY"


def inject() -> None:
    sealed_objects.open_body = _deadly  # type: ignore[attr-defined]


def _deadly(header: Header, body: bytes, *, file_key: bytes, expected: Context) -> bytes:
    data = open_body(header, body, file_key=file_key, expected=expected)
    if MARKER in data:
        os.kill(os.getpid(), signal.SIGSEGV)
    return data
