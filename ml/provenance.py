"""Where a training run comes from: data, code, start, machine. It is kept with the weights."""

import hashlib
import platform
import shlex
import subprocess
import sys
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import torch

from ml.recipes import LABEL_SMOOTHING
from ml.training_data import Source
from ml.training_run import Job

_PACKAGES: Final = ("torch", "torchvision", "numpy", "pillow", "safetensors")


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _git(*arguments: str) -> str | None:
    """What git says of this program's folder; None without git or outside a repository."""
    try:
        done = subprocess.run(  # noqa: S603 - words of this module alone
            ["git", *arguments],  # noqa: S607 - whichever git the user has
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


def code_state() -> dict[str, Any]:
    """Commit, and whether tracked files differ from it (None when git cannot tell)."""
    changes = _git("status", "--porcelain", "--untracked-files=no")
    return {
        "commit": _git("rev-parse", "HEAD") or "unknown",
        "dirty": None if changes is None else bool(changes),
    }


def device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    capability = torch.backends.cpu.get_cpu_capability()
    return f"cpu ({platform.machine()}, {capability}), {torch.get_num_threads()} threads"


def command_line(module: str) -> str:
    """The command as a user would type it."""
    return f"python -m {module} {shlex.join(sys.argv[1:])}"


def provenance(job: Job, source: Source, *, command: str, device: torch.device) -> dict[str, Any]:
    """All that decides what a run becomes, but for its wall time, which the run itself knows."""
    start = job.start or job.backbone
    return {
        "command": command,
        **code_state(),
        "data_sha256": source.images.data_hash,
        "folds_sha256": sha256_of(source.folds),
        "added": [
            {
                "manifest": f"{cases.manifest.parent.name}/{cases.manifest.name}",
                "sha256": sha256_of(cases.manifest),
                "cases": len(cases.records),
            }
            for cases in source.added
        ],
        "held_out_fold": job.fold,
        "seed": job.seed,
        "recipe": asdict(job.recipe),
        "imbalance": job.recipe.imbalance,
        "label_smoothing": LABEL_SMOOTHING,
        "start": start.name if start else "random weights",
        "start_sha256": sha256_of(start) if start else None,
        "versions": {"python": platform.python_version()}
        | {name: version(name) for name in _PACKAGES},
        "device": device_name(device),
    }
