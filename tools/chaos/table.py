"""The table of a run: what was done, what held, how long it took to recover."""

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tools.chaos.catalogue import chosen
from tools.chaos.fault import Fault
from tools.chaos.trial import Figures, Outcome

BEGIN = "<!-- chaos: begin, made by `make chaos` -->"
END = "<!-- chaos: end -->"
HEAD = (
    "| # | Fault | What must hold | Stack | Runs | Survived | Recovered after, median | max |"
    " Cases | Executions |"
)
STORM_HEAD = (
    "| Storm | Stack | Cases | Executions | Latency p50 | p95 | max | Settled after the end |"
)


class NoMarksError(Exception):
    """The document has no place for the table."""


def as_markdown(outcomes: Sequence[Outcome], *, heading: Sequence[str] = ()) -> str:
    """The table, the sentences before it, and what did not hold after it."""
    lines = ["\n\n".join(heading), "", HEAD, "|" + "---|" * (HEAD.count("|") - 1)]
    for fault, stack in dict.fromkeys((one.fault, one.stack) for one in outcomes):
        lines.append(_row(fault, stack, _of(outcomes, fault, stack)))
    storms = [one for one in outcomes if one.fault.storm]
    if storms:
        lines += ["", STORM_HEAD, "|" + "---|" * (STORM_HEAD.count("|") - 1)]
        lines += [_storm_row(one) for one in storms]
    failed = [one for one in outcomes if not one.survived]
    if failed:
        lines += ["", "Not survived:", ""]
        lines += [
            f"- {one.fault.number} {one.fault.name} on {one.stack}: {' '.join(one.problems)}"
            for one in failed
        ]
    return "\n".join(lines).strip() + "\n"


def as_summary(outcomes: Sequence[Outcome]) -> str:
    """One line for each fault and one column for each stack: how long recovery took."""
    stacks = list(dict.fromkeys(one.stack for one in outcomes))
    lines = [f"| # | Fault | {' | '.join(stacks)} |", "|" + "---|" * (2 + len(stacks))]
    for fault in sorted({one.fault for one in outcomes}, key=lambda one: (one.number, one.name)):
        told = [_told(_of(outcomes, fault, stack)) for stack in stacks]
        lines.append(f"| {fault.number} | {fault.name} | {' | '.join(told)} |")
    survived = sum(one.survived for one in outcomes)
    lines += [
        "",
        f"{survived} of {len(outcomes)} trials survived; seconds until all was well again.",
    ]
    return "\n".join(lines) + "\n"


def _told(runs: Sequence[Outcome]) -> str:
    if not runs:
        return "-"
    if not all(one.survived for one in runs):
        return "**not survived**"
    return _seconds(max(one.seconds_to_recover or 0.0 for one in runs))


def _of(outcomes: Sequence[Outcome], fault: Fault, stack: str) -> list[Outcome]:
    return [one for one in outcomes if one.fault == fault and one.stack == stack]


def _row(fault: Fault, stack: str, runs: Sequence[Outcome]) -> str:
    survived = sum(one.survived for one in runs)
    times = [one.seconds_to_recover for one in runs if one.seconds_to_recover is not None]
    median = _seconds(statistics.median(times) if times else None)
    cells = [
        str(fault.number),
        fault.name,
        fault.must_hold,
        stack,
        str(len(runs)),
        str(survived) if survived == len(runs) else f"**{survived}**",
        median,
        _seconds(max(times, default=None)),
        str(sum(one.figures.cases for one in runs)),
        str(sum(one.figures.executions for one in runs)),
    ]
    return "| " + " | ".join(cells) + " |"


def _storm_row(one: Outcome) -> str:
    found = one.figures
    times = (found.latency_p50, found.latency_p95, found.latency_max, one.seconds_to_recover)
    cells = [one.fault.name, one.stack, str(found.cases), str(found.executions)]
    return "| " + " | ".join([*cells, *map(_seconds, times)]) + " |"


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f} s"


def as_json(outcomes: Sequence[Outcome]) -> list[dict[str, Any]]:
    return [
        {
            "number": one.fault.number,
            "fault": one.fault.name,
            "stack": one.stack,
            "survived": one.survived,
            "problems": one.problems,
            "seconds_to_recover": one.seconds_to_recover,
            "cases": one.figures.cases,
            "executions": one.figures.executions,
            "latency_p50": one.figures.latency_p50,
            "latency_p95": one.figures.latency_p95,
            "latency_max": one.figures.latency_max,
        }
        for one in outcomes
    ]


def from_json(found: Sequence[Mapping[str, Any]]) -> list[Outcome]:
    """Read what `as_json` wrote, for instance of one stack, to make one table of several runs.

    Raises:
        NoSuchFaultError: the list of faults was changed since.

    """
    outcomes = []
    for one in found:
        (fault,) = chosen([one["fault"]])
        latencies = (one[name] for name in ("latency_p50", "latency_p95", "latency_max"))
        figures = Figures(one["cases"], one["executions"], *latencies)
        seconds = one["seconds_to_recover"]
        outcomes.append(Outcome(fault, one["stack"], seconds, figures, one["problems"]))
    return outcomes


def put_between_marks(document: Path, markdown: str) -> None:
    """Replace what stands between the marks of a document.

    Raises:
        NoMarksError: there are no marks, or they are in the wrong order.

    """
    text = document.read_text(encoding="utf-8")
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise NoMarksError(f"{document} has no lines {BEGIN} and {END}.")
    document.write_text(f"{before}{BEGIN}\n{markdown}{END}{after}", encoding="utf-8")
