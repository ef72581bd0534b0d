"""What a decoding child does: limits itself, takes one photo from its socket, answers, ends.

Answer: u32be length of JSON | JSON | rendition bytes. It is forked by `worker/decode_server.py`.
"""

import json
import resource
import socket
from typing import Any, Final

from clinic.photo import PhotoRejected, clean_photo
from clinic.photo_limits import PhotoLimits

OUT_OF_MEMORY: Final = 3
CHUNK: Final = 1 << 20


def limit_myself(*, memory_bytes: int, cpu_seconds: int) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    # At the soft limit the kernel sends SIGXCPU, which tells this end from others.
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_seconds, cpu_seconds + 1))
    # No file: neither a written one nor a core dump, which would hold the photo in clear.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))


def answer(data: bytes, *, limits: dict[str, int]) -> tuple[dict[str, Any], bytes]:
    try:
        rendition = clean_photo(data, limits=PhotoLimits(**limits))
    except PhotoRejected as rejected:
        return {"rejected": rejected.reason.value}, b""
    return {"width": rendition.width, "height": rendition.height}, rendition.data


def serve(connection: socket.socket, settings: dict[str, Any]) -> int:
    """Clean the one photo that arrives on `connection`; return the exit status."""
    limit_myself(memory_bytes=settings["memory_bytes"], cpu_seconds=settings["cpu_seconds"])
    try:
        fields, rendition = answer(_everything(connection), limits=settings["photo"])
    except MemoryError:
        return OUT_OF_MEMORY
    head = json.dumps(fields).encode("ascii")
    connection.sendall(len(head).to_bytes(4, "big") + head)
    connection.sendall(rendition)
    return 0


def _everything(connection: socket.socket) -> bytes:
    chunks = []
    while chunk := connection.recv(CHUNK):
        chunks.append(chunk)
    return b"".join(chunks)
