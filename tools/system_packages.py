"""Servers that tests and benches take from the system's packages. Needs nothing but Python."""

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path


def has_postgres() -> bool:
    found = shutil.which("initdb") or list(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return bool(found)


def has_redis() -> bool:
    return shutil.which("redis-server") is not None


def has_chromium() -> bool:
    return shutil.which("chromium") is not None


def install(packages: Sequence[str]) -> None:
    """Through apt, where that may be done without asking; the caller says what is still missing."""
    apt = shutil.which("apt-get")
    if apt is None or os.geteuid() != 0:
        return
    sys.stderr.write(f"Installing {' and '.join(packages)} from the system's packages ...\n")
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (["update", "-qq"], ["install", "-y", "-qq", "--no-install-recommends"]):
        names = list(packages) if command[0] == "install" else []
        subprocess.run([apt, *command, *names], env=env, check=False, stdout=subprocess.DEVNULL)
