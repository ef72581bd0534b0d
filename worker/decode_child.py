"""The child that decodes one photo: bytes on stdin, an answer on stdout, then it ends.

Answer: u32be length of JSON | JSON | rendition bytes. Start it through `worker/decode.py`.
It limits itself before it loads any decoder; its first argument is JSON (`DecodeLimits`).
"""

import json
import resource
import sys
from typing import Any, Final

OUT_OF_MEMORY: Final = 3


def limit_myself(*, memory_bytes: int, cpu_seconds: int) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    # At the soft limit the kernel sends SIGXCPU, which tells this end from others.
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_seconds, cpu_seconds + 1))
    # No file: neither a written one nor a core dump, which would hold the photo in clear.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))


def answer(data: bytes, *, limits: dict[str, int]) -> tuple[dict[str, Any], bytes]:
    # Imported only now, so that even loading the decoders happens under the limits.
    from clinic.photo import PhotoRejected, clean_photo  # noqa: PLC0415
    from clinic.photo_limits import PhotoLimits  # noqa: PLC0415

    try:
        rendition = clean_photo(data, limits=PhotoLimits(**limits))
    except PhotoRejected as rejected:
        return {"rejected": rejected.reason.value}, b""
    return {"width": rendition.width, "height": rendition.height}, rendition.data


def main() -> int:
    settings = json.loads(sys.argv[1])
    limit_myself(memory_bytes=settings["memory_bytes"], cpu_seconds=settings["cpu_seconds"])
    try:
        fields, rendition = answer(sys.stdin.buffer.read(), limits=settings["photo"])
    except MemoryError:
        return OUT_OF_MEMORY
    head = json.dumps(fields).encode("ascii")
    sys.stdout.buffer.write(len(head).to_bytes(4, "big") + head)
    sys.stdout.buffer.write(rendition)
    sys.stdout.buffer.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
