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
CUDA_LOCK = "requirements-cuda.lock"
# Says by its status whether the torch that was installed needs the CUDA libraries beside it.
NEEDS_CUDA = """
import sys
from importlib.metadata import PackageNotFoundError, version
try:
    sys.exit(0 if "+cpu" not in version("torch") else 1)
except PackageNotFoundError:
    sys.exit(1)
"""


def ensure(requirements: str) -> None:
    """Install the pinned packages of `requirements` unless the stamp says that they are there."""
    if sys.version_info < OLDEST:
        sys.exit(f"Python {OLDEST[0]}.{OLDEST[1]} or newer is needed, this is {sys.version}.")
    wanted = _fingerprint()
    if any(_stamped(one) == wanted for one in (requirements, EVERYTHING)):
        return
    if not PYTHON.exists():
        _step("Making the virtual environment .venv", [sys.executable, "-m", "venv", str(VENV)])
    _install(requirements.removesuffix(".txt") + ".lock")
    if _run([str(PYTHON), "-c", NEEDS_CUDA]) == 0:
        _install(CUDA_LOCK)
    _stamp(requirements).write_text(wanted, encoding="utf-8")


def _install(lock: str) -> None:
    """A lock is complete, so pip looks for no further packages."""
    command = [str(PYTHON), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    command += ["--require-hashes", "--no-deps", "-r", str(ROOT / lock)]
    _step(f"Installing the packages of {lock} (some minutes, once)", command)


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


def _run(command: list[str]) -> int:
    return subprocess.run(command, check=False, cwd=ROOT).returncode


if __name__ == "__main__":
    ensure(sys.argv[1] if len(sys.argv) > 1 else "requirements.txt")
