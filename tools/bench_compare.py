"""Whether a ratio has become worse by more than noise. Pure: values in, findings out.

A ratio is the median of its rounds. It is compared by its logarithm, so that twice as fast and
half as fast are equally far away. The noise of one round is the median absolute deviation of the
rounds, scaled to a standard deviation (1.4826 for normal noise: Rousseeuw and Croux 1993). A median
of n rounds has 1.2533 of that over the root of n as its error (the asymptotic variance of the
median). The difference of two runs has both runs' errors. It counts when it is more than four of
them, and more than a floor: what moves between two runs of the same code, such as memory layout,
does not move within one, so rounds say nothing of it.
"""

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, Self, cast

from tools.bench_result import Better, Outcome, Ratio

DEVIATION_OF_MAD: Final = 1.4826
ERROR_OF_MEDIAN: Final = 1.2533
STANDARD_ERRORS: Final = 4.0
FLOOR: Final = 0.15
FEWEST_ROUNDS: Final = 3
FLOOR_WITHOUT_ROUNDS: Final = 0.30
TOO_NOISY: Final = 1.0  # a limit beyond twice as slow would let anything pass


class Verdict(StrEnum):
    """What came of one ratio."""

    HELD = "held"
    BETTER = "better"
    WORSE = "worse"
    UNCLEAR = "unclear"
    MISSING = "missing"
    NEW = "new"


FAILURES: Final = frozenset({Verdict.WORSE, Verdict.MISSING})


@dataclass(frozen=True)
class Kept:
    """A ratio of the repository, with the noise of its rounds."""

    benchmark: str
    value: float
    better: Better
    noise: float
    rounds: int

    @classmethod
    def of(cls, benchmark: str, ratio: Ratio) -> Self:
        return cls(benchmark, ratio.value, ratio.better, noise(ratio.rounds), len(ratio.rounds))

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Self:
        better = cast("Better", fields["better"])
        return cls(fields["benchmark"], fields["value"], better, fields["noise"], fields["rounds"])

    def to_dict(self) -> dict[str, Any]:
        """As it is kept; tolerance and reason are for readers, a check works them out anew."""
        limit = allowed(self.noise, self.rounds, self.noise, self.rounds)
        return {
            "benchmark": self.benchmark,
            "value": round(self.value, 4),
            "better": self.better,
            "noise": round(self.noise, 4),
            "rounds": self.rounds,
            "tolerance": round(math.expm1(limit), 3),
            "because": _because(self.noise, self.rounds),
        }


@dataclass(frozen=True)
class Finding:
    """One ratio's verdict, and a sentence that says why."""

    name: str
    verdict: Verdict
    words: str


def noise(rounds: Sequence[float]) -> float:
    """The standard deviation of one round's logarithm, from the median absolute deviation."""
    logs = [math.log(one) for one in rounds]
    middle = statistics.median(logs)
    return DEVIATION_OF_MAD * statistics.median(abs(one - middle) for one in logs)


def allowed(kept_noise: float, kept_rounds: int, noise_now: float, rounds_now: int) -> float:
    """How much worse, as a logarithm, a ratio may be before it counts."""
    if min(kept_rounds, rounds_now) < FEWEST_ROUNDS:
        return math.log1p(FLOOR_WITHOUT_ROUNDS)
    errors = [
        ERROR_OF_MEDIAN * one / math.sqrt(count)
        for one, count in ((kept_noise, kept_rounds), (noise_now, rounds_now))
    ]
    return max(math.log1p(FLOOR), STANDARD_ERRORS * math.hypot(*errors))


def compare(kept: Mapping[str, Kept], outcomes: Iterable[Outcome]) -> list[Finding]:
    """Every ratio, by name, of the benchmarks that ran."""
    ran = list(outcomes)
    now = {ratio.name: ratio for outcome in ran for ratio in outcome.ratios}
    names = {outcome.name for outcome in ran}
    expected = {name: one for name, one in kept.items() if one.benchmark in names}
    return [_finding(name, expected.get(name), now.get(name)) for name in sorted({*expected, *now})]


def _finding(name: str, kept: Kept | None, now: Ratio | None) -> Finding:
    if kept is None:
        return Finding(name, Verdict.NEW, "not kept yet: run with --keep")
    if now is None:
        return Finding(name, Verdict.MISSING, "kept, but this run did not measure it")
    limit = allowed(kept.noise, kept.rounds, noise(now.rounds), len(now.rounds))
    change = math.log(now.value / kept.value)
    worse_by = -change if kept.better == "higher" else change
    words = (
        f"{now.value:.3g}, kept {kept.value:.3g}: {_share(worse_by)},"
        f" {math.expm1(limit):.0%} may be noise"
    )
    return Finding(name, _verdict(worse_by, limit), words)


def _verdict(worse_by: float, limit: float) -> Verdict:
    if worse_by > limit:
        return Verdict.WORSE
    if math.expm1(limit) > TOO_NOISY:
        return Verdict.UNCLEAR
    return Verdict.BETTER if -worse_by > limit else Verdict.HELD


def _share(worse_by: float) -> str:
    return f"{math.expm1(abs(worse_by)):.0%} {'worse' if worse_by > 0 else 'better'}"


def _because(deviation: float, rounds: int) -> str:
    if rounds < FEWEST_ROUNDS:
        return f"{rounds} rounds say nothing of noise: {FLOOR_WITHOUT_ROUNDS:.0%} by convention"
    limit = allowed(deviation, rounds, deviation, rounds)
    if limit <= math.log1p(FLOOR):
        return f"rounds differ by {deviation:.1%}: the floor of {FLOOR:.0%} between runs is more"
    return f"four standard errors of two medians of {rounds} rounds that differ by {deviation:.1%}"
