"""`make bench`: how fast this machine is, and above all ratios that are measured within one run.

Each benchmark prints one JSON line when it is done; a table for people follows. Rates depend on the
machine and are only printed. Ratios are what `--check` compares with those kept in the repository:
tools/bench_compare.py says when a difference counts. All benchmarks together take about a quarter
of an hour on two quiet cores; after an hour the run is given up.
"""

import argparse
import json
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NoReturn

from tools import (
    bench_analysis,
    bench_memory,
    bench_pages,
    bench_screening,
    bench_submissions,
    simulation_check,
)
from tools.bench_compare import FAILURES, Finding, Kept, compare
from tools.bench_result import Outcome, Ratio
from tools.bench_table import table
from tools.installation import ROOT

KEPT_FILE: Final = ROOT / "bench" / "ratios.json"
LATEST_FILE: Final = ROOT / "bench" / "latest.json"
LONGEST_SECONDS: Final = 3600
SCREENING_ROUNDS: Final = 3
_TO_PLAIN: Final = {
    "ratio": "photos a second in batches, to the plain way",
    "latency_ratio": "photos a second one at a time, to the plain way",
}
_ANALYSIS_RATIOS: Final = _TO_PLAIN | {
    "share_of_arithmetic_limit": "operations a second, to what a large matrix product reaches",
}


@dataclass(frozen=True)
class Group:
    """Benchmarks that share what they measure on; `run` gets those of `names` that are wanted."""

    names: tuple[str, ...]
    run: Callable[[Sequence[str]], Iterator[Outcome]]


def analysis(_: Sequence[str]) -> Iterator[Outcome]:
    found = bench_analysis.run()
    yield Outcome("analysis", found, _ratios("analysis", found, _ANALYSIS_RATIOS))


def analysis_as_it_serves(_: Sequence[str]) -> Iterator[Outcome]:
    """In the cheaper arithmetic that the gate permits; the limit is one of single precision."""
    found = bench_analysis.run(permitted=True)
    yield Outcome("analysis-as-it-serves", found, _ratios("as it serves", found, _TO_PLAIN))


def screening(_: Sequence[str]) -> Iterator[Outcome]:
    """Photos a second from queue to result; one worker and two take turns."""
    rounds = [(bench_screening.run(1), bench_screening.run(2)) for _ in range(SCREENING_ROUNDS)]
    ratio = Ratio(
        "screening: photos a second with two workers, to one",
        "higher",
        tuple(two["photos_per_second"] / one["photos_per_second"] for one, two in rounds),
    )
    one, two = rounds[-1]
    yield Outcome("screening", {"one_worker": one, "two_workers": two}, (ratio,))


def submissions(_: Sequence[str]) -> Iterator[Outcome]:
    yield bench_submissions.run()


def memory(_: Sequence[str]) -> Iterator[Outcome]:
    yield bench_memory.run()


def simulation(_: Sequence[str]) -> Iterator[Outcome]:
    """How far the model of the queue is from the real programs: 1 is not at all."""
    found = simulation_check.run()
    measured, simulated = (found[way]["latency_mean"] for way in ("measured", "simulated"))
    apart = max(measured, simulated) / min(measured, simulated)
    name = "simulation: mean time until analysed, modelled and measured, the larger to the smaller"
    yield Outcome("simulation", found, (Ratio(name, "lower", (apart,)),))


GROUPS: Final = (
    Group(("analysis",), analysis),
    Group(("analysis-as-it-serves",), analysis_as_it_serves),
    Group(("screening",), screening),
    Group(("submissions",), submissions),
    Group((*bench_pages.PAGES, bench_pages.ALL_OPEN), bench_pages.run),
    Group(("memory",), memory),
    Group(("simulation",), simulation),
)
NAMES: Final = tuple(name for group in GROUPS for name in group.names)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.bench", description=__doc__)
    parser.add_argument("--only", action="append", choices=NAMES, help="run this one; repeatable")
    act = parser.add_mutually_exclusive_group()
    act.add_argument("--check", action="store_true", help="fail where a kept ratio got worse")
    act.add_argument("--keep", action="store_true", help="write the ratios and the figures")
    options = parser.parse_args(arguments)
    _give_up_after(LONGEST_SECONDS)
    outcomes = []
    for outcome in _run(options.only or NAMES):
        _print(json.dumps(outcome.to_dict()))
        outcomes.append(outcome)
        if options.keep:
            _merge(KEPT_FILE, _kept_fields(outcome))
            _merge(LATEST_FILE, {outcome.name: outcome.to_dict()})
    _print("\n" + "\n".join(table([outcome.to_dict() for outcome in outcomes])))
    return _check(outcomes) if options.check else 0


def _run(wanted: Sequence[str]) -> Iterator[Outcome]:
    for group in GROUPS:
        names = [name for name in group.names if name in wanted]
        if names:
            yield from group.run(names)


def _ratios(name: str, found: Mapping[str, Any], wanted: Mapping[str, str]) -> tuple[Ratio, ...]:
    """Of the analysis, each the median of its own rounds already."""
    return tuple(
        Ratio(f"{name}: {words}", "higher", (found[key],)) for key, words in wanted.items()
    )


def _kept_fields(outcome: Outcome) -> dict[str, Any]:
    return {ratio.name: Kept.of(outcome.name, ratio).to_dict() for ratio in outcome.ratios}


def _check(outcomes: Sequence[Outcome]) -> int:
    findings = compare(kept_ratios(), outcomes)
    _print("\n" + "\n".join(f"{one.verdict:8} {one.name}: {one.words}" for one in findings))
    return 1 if any(_fails(one) for one in findings) else 0


def _fails(finding: Finding) -> bool:
    return finding.verdict in FAILURES


def kept_ratios() -> dict[str, Kept]:
    return {name: Kept.from_dict(fields) for name, fields in _read(KEPT_FILE).items()}


def _merge(path: Path, fresh: dict[str, Any]) -> None:
    """Replace what was measured anew and leave the rest."""
    path.parent.mkdir(exist_ok=True)
    fields = dict(sorted({**_read(path), **fresh}.items()))
    path.write_text(json.dumps(fields, indent=2) + "\n", encoding="utf-8")


def _read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return found


def _give_up_after(seconds: int) -> None:
    """Raise in the main thread, here and at SIGTERM: every server that was started is stopped."""

    def give_up(*_: object) -> NoReturn:
        raise TimeoutError(f"The benchmarks were not done after {seconds} s, or were stopped.")

    signal.signal(signal.SIGALRM, give_up)
    signal.signal(signal.SIGTERM, give_up)
    signal.alarm(seconds)


def _print(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
