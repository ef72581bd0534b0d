"""Writes the locks: every package that gets installed, with the hashes of its files (`make lock`).

`requirements*.txt` say what we ask for; uv finds the rest, once for every platform, and keeps what
the locks name already unless it has to change. Two things are special about torch:

- pip may find its build for processors alone instead of PyPI's, by a folder or an index of its own
  settings. So the hash of the file that pip chooses on this machine is added to PyPI's.
- That build needs none of the CUDA libraries, which are gigabytes. They have a lock of their own,
  and `tools/bootstrap.py` installs it only beside a torch that needs it.
"""

import hashlib
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SOURCES = ("requirements-web.txt", "requirements.txt", "requirements-dev.txt")
CUDA_LOCK = "requirements-cuda.lock"
HEAD = "# Written by `make lock` from {}; do not edit.\n"
_CUDA = re.compile(r"(?:nvidia|cuda)-|triton==")
_HASH = re.compile(r"--hash=(sha256:[0-9a-f]{64})")


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        everything = Path(folder) / "everything.lock"
        everything.write_text(_known(), encoding="utf-8")
        _compile(SOURCES[-1], everything)
        torch = _own_torch(everything.read_text(encoding="utf-8"), Path(folder) / "torch")
        for source in SOURCES:
            part = Path(folder) / "part.lock"
            _compile(source, part, "--constraints", str(everything))
            pins = [torch.get(pin, pin) for pin in pins_of(part.read_text(encoding="utf-8"))]
            _write(lock_of(source), source, (pin for pin in pins if not _CUDA.match(pin)))
        pins = pins_of(everything.read_text(encoding="utf-8"))
        _write(CUDA_LOCK, "requirements.txt", (pin for pin in pins if _CUDA.match(pin)))


def lock_of(source: str) -> str:
    return source.removesuffix(".txt") + ".lock"


def pins_of(lock: str) -> list[str]:
    """The entries of a lock: `name==version` with its marker, and its hashes on further lines."""
    return [one for one in re.split(r"\n(?=\w)", lock.strip()) if "==" in one]


def with_hash(pin: str, digest: str) -> str:
    """The same entry, where the file with this SHA-256 (hex) is allowed too."""
    one = f"sha256:{digest}"
    if one in _HASH.findall(pin):
        return pin
    return f"{pin} \\\n    --hash={one}"


def _known() -> str:
    """What the present locks name: uv prefers these versions."""
    names = (lock_of(SOURCES[-1]), CUDA_LOCK)
    files = [ROOT / name for name in names if (ROOT / name).is_file()]
    return "\n".join(file.read_text(encoding="utf-8") for file in files)


def _compile(source: str, lock: Path, *more: str) -> None:
    command = [sys.executable, "-m", "uv", "pip", "compile", source, "--output-file", str(lock)]
    command += ["--universal", "--python-version", "3.11", "--generate-hashes"]
    command += ["--no-header", "--no-annotate", "--quiet", *more]
    subprocess.run(command, cwd=ROOT, check=True)


def _own_torch(lock: str, folder: Path) -> dict[str, str]:
    """Torch's entry as uv wrote it, and the same with the file that pip takes here."""
    (pin,) = (one for one in pins_of(lock) if one.startswith("torch=="))
    wanted = pin.split()[0]
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest"]
    subprocess.run([*command, str(folder), wanted], cwd=ROOT, check=True)
    digests = [hashlib.sha256(file.read_bytes()).hexdigest() for file in folder.iterdir()]
    allowed = pin
    for digest in [*digests, *_digests_so_far(wanted)]:
        allowed = with_hash(allowed, digest)
    return {pin: allowed}


def _digests_so_far(wanted: str) -> list[str]:
    """What the lock allows for this very version: another machine may have added its file."""
    same = (pin for pin in pins_of(_known()) if pin.split()[0] == wanted)
    return [one.removeprefix("sha256:") for pin in same for one in _HASH.findall(pin)]


def _write(lock: str, source: str, pins: Iterable[str]) -> None:
    text = HEAD.format(source) + "".join(f"{pin}\n" for pin in pins)
    (ROOT / lock).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
