"""Makes the virtual environment that the other tools run in. Needs nothing but Python itself.

`python3 tools/bootstrap.py [requirements-dev.txt]`; a stamp makes the second call instant. pip
takes only files whose hash stands in the lock, which `make lock` writes.
"""

import hashlib
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
OLDEST = (3, 11)
EVERYTHING = "requirements-dev.txt"  # includes all the others
# torch for processors alone is gigabytes smaller. Some indexes offer it, PyPI does not.
TORCH_FOR_CPU = "requirements-torch-cpu.lock"
TORCH = "requirements-torch.lock"


def ensure(requirements: str) -> None:
    """Install the pinned packages of `requirements` unless the stamp says that they are there."""
    if sys.version_info < OLDEST:
        sys.exit(f"Python {OLDEST[0]}.{OLDEST[1]} or newer is needed, this is {sys.version}.")
    wanted = _fingerprint()
    if any(_stamped(one) == wanted for one in (requirements, EVERYTHING)):
        return
    if not PYTHON.exists():
        _step("Making the virtual environment .venv", [sys.executable, "-m", "venv", str(VENV)])
    lock = requirements.removesuffix(".txt") + ".lock"
    _step(f"Installing the packages of {lock} (some minutes, once)", _install(lock))
    if _run(_install(TORCH_FOR_CPU), stderr=subprocess.DEVNULL) != 0:
        _step("Installing torch with its CUDA libraries", _install(TORCH))
    _stamp(requirements).write_text(wanted, encoding="utf-8")


def _install(lock: str) -> list[str]:
    """A lock is complete, so pip looks for no further packages."""
    pip = [str(PYTHON), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    return [*pip, "--require-hashes", "--no-deps", "-r", str(ROOT / lock)]


def _stamp(requirements: str) -> Path:
    return VENV / f"installed-{requirements}"


def _stamped(requirements: str) -> str | None:
    stamp = _stamp(requirements)
    return stamp.read_text(encoding="utf-8") if stamp.is_file() else None


def _fingerprint() -> str:
    files = sorted(ROOT.glob("requirements*.lock"))
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


def _step(words: str, command: list[str]) -> None:
    sys.stderr.write(f"{words} ...\n")
    sys.stderr.flush()
    if _run(command) != 0:
        sys.exit(
            f"{words} failed. Check the messages above: a missing python3-venv package, no "
            "internet connection or no free disk space are the usual reasons."
        )


def _run(command: list[str], *, stderr: int | None = None) -> int:
    return subprocess.run(command, check=False, cwd=ROOT, stderr=stderr).returncode


if __name__ == "__main__":
    ensure(sys.argv[1] if len(sys.argv) > 1 else "requirements.txt")
