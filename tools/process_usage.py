"""What a program and all its children use, read from Linux's /proc."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

PROC: Final = Path("/proc")
TICKS_PER_SECOND: Final = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Usage:
    """Processor time counts ended children too; memory is the proportional share (PSS)."""

    cpu_seconds: float
    memory_bytes: int


def usage_of(pid: int) -> Usage:
    """Use of `pid` and of everything that it started and that still runs."""
    parents = {child: int(fields[1]) for child, fields in _every_process().items()}
    family = {pid}
    while grown := {child for child, parent in parents.items() if parent in family} - family:
        family |= grown
    return Usage(
        sum(_cpu_seconds(one) for one in family), sum(_memory_bytes(one) for one in family)
    )


def _every_process() -> dict[int, list[str]]:
    found = {int(folder.name): _stat(int(folder.name)) for folder in PROC.glob("[0-9]*")}
    return {pid: fields for pid, fields in found.items() if fields}


def _stat(pid: int) -> list[str]:
    """The fields after the name: state, parent and so on; empty when the process has ended."""
    try:
        return (PROC / str(pid) / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []


def _cpu_seconds(pid: int) -> float:
    """Own time and that of ended children: utime, stime, cutime and cstime of proc(5)."""
    return sum(map(int, _stat(pid)[11:15])) / TICKS_PER_SECOND


def _memory_bytes(pid: int) -> int:
    try:
        lines = (PROC / str(pid) / "smaps_rollup").read_text(encoding="utf-8").splitlines()
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
