"""A sealed part opens under its identity alone, whole, and as the program `age` writes it."""

import os
import zlib
from pathlib import Path

import pyrage
import pytest

from clinic.sealed_part import PartError, new_identity, open_part, part_of, seal_part

IDENTITY, RECIPIENT = new_identity()
CONTENT = [b"first piece, ", b"", os.urandom(300_000), b"last piece"]


class Collected:
    def __init__(self) -> None:
        self.content = b""

    def write(self, data: bytes) -> None:
        self.content += data


def opened(path: Path, identity: str = IDENTITY) -> bytes:
    collected = Collected()
    open_part(path, collected, identity=identity)
    return collected.content


@pytest.fixture
def part(tmp_path: Path) -> Path:
    path = tmp_path / "database.age"
    seal_part(CONTENT, path, recipient=RECIPIENT)
    return path


def test_what_was_sealed_comes_back(part: Path) -> None:
    assert opened(part) == b"".join(CONTENT)
    assert b"first piece" not in part.read_bytes()


def test_an_empty_part_is_a_part_too(tmp_path: Path) -> None:
    seal_part([], tmp_path / "empty", recipient=RECIPIENT)
    assert opened(tmp_path / "empty") == b""


def test_it_is_a_file_of_age_over_a_zlib_stream(part: Path) -> None:
    assert part.read_bytes().startswith(b"age-encryption.org/v1\n-> X25519 ")
    identity = pyrage.x25519.Identity.from_str(IDENTITY)
    assert zlib.decompress(pyrage.decrypt(part.read_bytes(), [identity])) == b"".join(CONTENT)


def test_another_identity_does_not_open_it(part: Path) -> None:
    with pytest.raises(PartError, match=r"This identity does not open database\.age"):
        opened(part, new_identity()[0])
    with pytest.raises(PartError, match="no secret key of age"):
        opened(part, "nonsense")


@pytest.mark.parametrize("change", ["flip", "cut", "cut to the header", "append"])
def test_a_changed_part_does_not_open(part: Path, change: str) -> None:
    data = part.read_bytes()
    flipped = bytearray(data)
    flipped[-1000] ^= 1
    changed = {
        "flip": bytes(flipped),
        "cut": data[:-70_000],
        "cut to the header": data[:60],
        "append": data + b"x",
    }[change]
    part.write_bytes(changed)

    with pytest.raises(PartError, match=r"database\.age"):
        opened(part)


def test_content_that_ends_too_early_is_no_part(tmp_path: Path) -> None:
    """Sealed as a whole, but not compressed to the end."""
    path = tmp_path / "short.age"
    public = pyrage.x25519.Recipient.from_str(RECIPIENT)
    path.write_bytes(pyrage.encrypt(zlib.compress(b"".join(CONTENT))[:-500], [public]))
    with pytest.raises(PartError, match="ends too early"):
        opened(path)


def test_a_recipient_that_is_no_key_is_named(tmp_path: Path) -> None:
    with pytest.raises(PartError, match="age1nobody is no public key"):
        seal_part(CONTENT, tmp_path / "part", recipient="age1nobody")


def test_a_fault_of_the_content_comes_out_as_it_was(tmp_path: Path) -> None:
    def broken() -> object:
        yield b"x"
        raise LookupError("the database went away")

    with pytest.raises(LookupError, match="went away"):
        seal_part(broken(), tmp_path / "part", recipient=RECIPIENT)  # type: ignore[arg-type]


def test_a_fault_of_the_sink_comes_out_as_it_was(part: Path) -> None:
    class Full:
        def write(self, data: bytes) -> None:
            raise OSError(28, f"no room for {len(data)} bytes")

    with pytest.raises(OSError, match="no room"):
        open_part(part, Full(), identity=IDENTITY)


def test_a_full_disk_is_a_fault_of_the_system(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    monkeypatch.setattr("clinic.sealed_part.os.open", lambda *_: full)
    with pytest.raises(OSError, match="No space left"):
        seal_part(CONTENT, tmp_path / "part", recipient=RECIPIENT)


def test_a_part_is_known_by_name_size_and_digest(tmp_path: Path) -> None:
    path = tmp_path / "some.file"
    path.write_bytes(b"abc")
    part = part_of(path)
    assert (part.file, part.size) == ("some.file", 3)
    assert part.sha256 == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
