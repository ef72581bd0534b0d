"""In the portal: it ends at once, as by a power cut, at a chosen point of one upload.

A file says that the shot is loaded; it is spent by the first upload that comes to the point.
"""

import os
from collections.abc import Callable, Iterable
from enum import StrEnum
from pathlib import Path
from typing import Any

from flask import Flask

from clinic.records.blob_folder import FolderBlobStore

POWER_CUT = 70


class Point(StrEnum):
    BODY_STORED = "the body is stored, its row is not committed"
    COMMITTED = "the case is committed, nobody was told"


def inject(point: str, loaded: str) -> None:
    if point == Point.BODY_STORED:
        _end_after_body(Path(loaded))
    else:
        _end_before_answer(Path(loaded))


def _end_after_body(loaded: Path) -> None:
    put = FolderBlobStore.put

    def deadly(store: FolderBlobStore, object_id: str, body: bytes) -> None:
        put(store, object_id, body)
        _end_if(loaded)

    FolderBlobStore.put = deadly  # type: ignore[assignment, method-assign]


def _end_before_answer(loaded: Path) -> None:
    whole_app = Flask.wsgi_app

    def deadly(app: Flask, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        def answer(status: str, *rest: Any) -> Any:
            if status.startswith("202") and environ["PATH_INFO"] == "/cases/new":
                _end_if(loaded)
            return start(status, *rest)

        return whole_app(app, environ, answer)

    Flask.wsgi_app = deadly  # type: ignore[assignment, method-assign]


def _end_if(loaded: Path) -> None:
    try:
        loaded.unlink()
    except FileNotFoundError:
        return
    os._exit(POWER_CUT)
