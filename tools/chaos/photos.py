"""Files that strangers send in place of a photo, made from a drawn one."""

import io
import struct
import zipfile
import zlib

from PIL import Image

from tools.chaos import canary
from tools.lesion_drawing import draw_lesion

BOMB_SIDE = 30_000
HIDDEN = b"CANARY-POLYGLOT-51c0ffee"


def with_comment(seed: int, comment: bytes) -> bytes:
    """A good photo with a comment, which stands in the file in clear."""
    out = io.BytesIO()
    draw_lesion(seed, canary.PHOTO_SIZE).save(out, "JPEG", quality=90, comment=comment)
    return out.getvalue()


def bomb() -> bytes:
    """A PNG of 900 million pixels in some 100 kB: one bit each, 112 MB once they are unpacked."""
    row = bytes(1 + BOMB_SIDE // 8)
    packer = zlib.compressobj(9)
    packed = b"".join(packer.compress(row) for _ in range(BOMB_SIDE)) + packer.flush()
    head = struct.pack(">IIBBBBB", BOMB_SIDE, BOMB_SIDE, 1, 0, 0, 0, 0)
    chunks = ((b"IHDR", head), (b"IDAT", packed), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, data) for kind, data in chunks)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def moving() -> bytes:
    """A PNG with two pictures."""
    frames = [Image.new("RGB", canary.PHOTO_SIZE, colour) for colour in ("red", "blue")]
    out = io.BytesIO()
    frames[0].save(out, "PNG", save_all=True, append_images=frames[1:])
    return out.getvalue()


def polyglot(photo: bytes) -> bytes:
    """A good photo that is a ZIP archive as well."""
    out = io.BytesIO(photo)
    with zipfile.ZipFile(out, "a", zipfile.ZIP_STORED) as archive:
        archive.writestr("payload", HIDDEN)
    return out.getvalue()
