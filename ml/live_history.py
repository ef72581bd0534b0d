"""Which bundles served, in the file HISTORY beside LIVE: one line of JSON for each change."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from ml.artifact import BundleError

HISTORY_FILE: Final = "HISTORY"


class Change(StrEnum):
    PROMOTED = "promoted"
    ROLLED_BACK = "rolled back"


@dataclass(frozen=True)
class Served:
    """A bundle by its folder's name and the sha256 of its manifest."""

    version: str
    fingerprint: str


@dataclass(frozen=True, kw_only=True)
class Step:
    """One change of LIVE. `before` is None for the first bundle; `figures` are a promotion's."""

    time: str
    change: Change
    before: Served | None
    after: Served
    figures: list[dict[str, Any]] = field(default_factory=list)


def read_history(weights: Path) -> list[Step]:
    """Changes, the oldest first; none where there is no file, BundleError for a damaged one."""
    path = weights / HISTORY_FILE
    if not path.exists():
        return []
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        return [_step(json.loads(line)) for line in lines]
    except (ValueError, KeyError, TypeError) as error:
        raise BundleError(f"{path} is damaged ({error}): restore it from the repository") from error


def _step(values: dict[str, Any]) -> Step:
    before = values["before"]
    return Step(
        time=values["time"],
        change=Change(values["change"]),
        before=None if before is None else Served(**before),
        after=Served(**values["after"]),
        figures=values["figures"],
    )


def append_step(weights: Path, step: Step) -> None:
    with (weights / HISTORY_FILE).open("a", encoding="utf-8") as file:
        file.write(json.dumps(asdict(step)) + "\n")


def pile(history: Sequence[Step], live: str) -> list[Served]:
    """What a rollback goes down: the live bundle last, before it what served when it was promoted.

    A promotion lays a bundle on the pile and a rollback takes one off. A step that was written down
    but never reached LIVE drops out. Empty where HISTORY does not know the live bundle.
    """
    found: list[Served] = []
    for step in history:
        if step.change is Change.ROLLED_BACK:
            found = _cut(found, step.after.version) or [step.after]
        elif step.before is None:
            found = [step.after]
        else:
            found = [*(_cut(found, step.before.version) or [step.before]), step.after]
    return _cut(found, live)


def _cut(served: Sequence[Served], version: str) -> list[Served]:
    """Down to the uppermost place of this version."""
    places = [place for place, each in enumerate(served) if each.version == version]
    return list(served[: places[-1] + 1]) if places else []
