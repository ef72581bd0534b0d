"""Requests whose uploads stay in memory: a photo that arrives unsealed never touches the disk."""

import io
from typing import IO

from flask import Request


class MemoryRequest(Request):
    """Werkzeug would spool form files above 500 kB to a temporary file."""

    def _get_file_stream(
        self,
        total_content_length: int | None,
        content_type: str | None,
        filename: str | None = None,
        content_length: int | None = None,
    ) -> IO[bytes]:
        del total_content_length, content_type, filename, content_length
        return io.BytesIO()
