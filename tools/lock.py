"""Writes the locks: every package that gets installed, with the hashes of its files (`make lock`).

`requirements*.txt` say what we ask for; uv finds the rest, once for every platform, and keeps what
the locks name already unless it has to change. torch has locks of its own, since there are two
builds of it: PyPI's with its CUDA libraries, and one for processors alone, which needs none of
these gigabytes and which pip finds where a folder or an index of its settings offers it.
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
TORCH_LOCK = "requirements-torch.lock"
TORCH_CPU_LOCK = "requirements-torch-cpu.lock"
HEAD = "# Written by `make lock` from {}; do not edit.\n"
_TORCH = re.compile(r"torch==|triton==|nvidia-|cuda-")


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        everything, part = Path(folder) / "everything.lock", Path(folder) / "part.lock"
        everything.write_text(_known(), encoding="utf-8")
        _compile(SOURCES[-1], everything)
        for source in SOURCES:
            _compile(source, part, "--constraints", str(everything))
            _write(lock_of(source), source, (pin for pin in _pins(part) if not _TORCH.match(pin)))
        torch = [pin for pin in _pins(everything) if _TORCH.match(pin)]
        _write(TORCH_LOCK, "requirements.txt", torch)
        version = next(pin for pin in torch if pin.startswith("torch==")).split()[0]
        _write_cpu_lock(f"{version}+cpu", Path(folder) / "torch")


def lock_of(source: str) -> str:
    return source.removesuffix(".txt") + ".lock"


def pins_of(lock: str) -> list[str]:
    """The entries of a lock: `name==version` with its marker, and its hashes on further lines."""
    return [one for one in re.split(r"\n(?=\w)", lock.strip()) if "==" in one]


def _pins(lock: Path) -> list[str]:
    return pins_of(lock.read_text(encoding="utf-8"))


def _known() -> str:
    """What the present locks name: uv prefers these versions."""
    names = (lock_of(SOURCES[-1]), TORCH_LOCK)
    files = [ROOT / name for name in names if (ROOT / name).is_file()]
    return "\n".join(file.read_text(encoding="utf-8") for file in files)


def _compile(source: str, lock: Path, *more: str) -> None:
    command = [sys.executable, "-m", "uv", "pip", "compile", source, "--output-file", str(lock)]
    command += ["--universal", "--python-version", "3.11", "--generate-hashes"]
    command += ["--no-header", "--no-annotate", "--quiet", *more]
    subprocess.run(command, cwd=ROOT, check=True)


def _write_cpu_lock(wanted: str, folder: Path) -> None:
    """The hash is that of the file which pip finds here; where it finds none the lock stays."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest"]
    if subprocess.run([*command, str(folder), wanted], cwd=ROOT, check=False).returncode != 0:
        print(f"pip finds no {wanted} here: {TORCH_CPU_LOCK} stays as it is.")
        return
    (file,) = folder.iterdir()
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    pin = f"{wanted} \\\n    --hash=sha256:{digest}"
    _write(TORCH_CPU_LOCK, "what an index of torch's builds for processors offers", [pin])


def _write(lock: str, source: str, pins: Iterable[str]) -> None:
    text = HEAD.format(source) + "".join(f"{pin}\n" for pin in pins)
    (ROOT / lock).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
