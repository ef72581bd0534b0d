"""How requests are read: uploads stay in memory, and JSON that is nested too deeply is bad JSON."""

import io
from typing import IO, Any

from flask import Request
from flask.json.provider import DefaultJSONProvider


class MemoryRequest(Request):
    """A photo that arrives unsealed never touches the disk.

    Werkzeug would spool form files above 500 kB to a temporary file.
    """

    def _get_file_stream(
        self,
        total_content_length: int | None,
        content_type: str | None,
        filename: str | None = None,
        content_length: int | None = None,
    ) -> IO[bytes]:
        del total_content_length, content_type, filename, content_length
        return io.BytesIO()


class ShallowJson(DefaultJSONProvider):
    """The parser runs out of stack on thousands of brackets; the sender is to blame, not we."""

    def loads(self, s: str | bytes, **kwargs: Any) -> Any:
        try:
            return super().loads(s, **kwargs)
        except RecursionError:
            raise ValueError("nested too deeply") from None
