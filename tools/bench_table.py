"""The benchmarks' figures as the rows of a table, for the terminal and for README.

`python -m tools.bench_table` writes the rows of bench/latest.json into README, between its marks.
"""

import json
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parent.parent
LATEST_FILE: Final = ROOT / "bench" / "latest.json"
README: Final = ROOT / "README.md"
BEGIN, END = "<!-- figures of make bench -->", "<!-- end of the figures -->"

Row = tuple[str, str]
Fields = Mapping[str, Any]


def table(outcomes: Iterable[Fields]) -> list[str]:
    """Markdown lines; a benchmark without a way to tell it shows its ratios."""
    rows = [row for one in outcomes for row in _ROWS.get(one["benchmark"], _ratio_rows)(one)]
    return ["| What | Figure |", "|---|---|", *(f"| {what} | {said} |" for what, said in rows)]


def with_table(readme: str, lines: Iterable[str]) -> str:
    """The text with everything between the marks replaced.

    Raises:
        LookupError: the text has no marks.

    """
    if BEGIN not in readme or END not in readme:
        raise LookupError(f"README has no marks {BEGIN} and {END}.")
    body = "\n".join([BEGIN, *lines, END])
    return re.sub(f"{BEGIN}.*?{END}", lambda _: body, readme, flags=re.DOTALL)


def latest_table() -> list[str]:
    fields: dict[str, Fields] = json.loads(LATEST_FILE.read_text(encoding="utf-8"))
    return table(fields.values())


def main() -> int:
    text = with_table(README.read_text(encoding="utf-8"), latest_table())
    README.write_text(text, encoding="utf-8")
    return 0


def _ratio_rows(one: Fields) -> list[Row]:
    return [(name, _times(ratio["value"])) for name, ratio in one["ratios"].items()]


def _submissions(one: Fields) -> list[Row]:
    figures = one["figures"]
    accepted, drained = figures["accepted"], figures["nothing_with_the_body"]
    (share, *_) = one["ratios"].values()
    return [
        (
            (
                f"submissions accepted, {figures['photo_megabytes']} MB each, sealed, from"
                f" {figures['concurrent_patients']} patients at once (PostgreSQL that syncs)"
            ),
            (
                f"{accepted['per_second']} a second; p50 {accepted['p50_ms']:.0f} ms,"
                f" p95 {accepted['p95_ms']:.0f} ms, p99 {accepted['p99_ms']:.0f} ms"
            ),
        ),
        (
            "the same bodies sent to a view that does nothing, same web server, same run",
            (
                f"{drained['per_second']} a second; p95 {drained['p95_ms']:.0f} ms;"
                f" the portal reaches {_times(share['value'])}"
            ),
        ),
    ]


def _pages(one: Fields) -> list[Row]:
    """p95 at each size and the ratio of the largest to the least, of the slowest way of asking."""
    worst = max(one["ratios"], key=lambda name: one["ratios"][name]["value"])
    way = worst.partition(": ")[2].partition(",")[0]
    by_size: Mapping[str, float] = one["figures"][way]
    sizes = ", ".join(f"{float(ms):.0f} ms at {int(size):,}" for size, ms in by_size.items())
    words = _PAGE_WORDS[one["benchmark"]]
    several = f" ({way}, the worst of {len(one['ratios'])})" if len(one["ratios"]) > 1 else ""
    return [(f"{words}, p95{several}", f"{sizes} cases: {_times(one['ratios'][worst]['value'])}")]


def _analysis(one: Fields) -> list[Row]:
    figures = one["figures"]
    return [
        (
            f"analysis, decoded pixels to heat-map, in batches ({figures['engine']})",
            f"{figures['photos_per_second']} photos a second",
        ),
        *((name, _times(ratio["value"])) for name, ratio in one["ratios"].items()),
    ]


def _screening(one: Fields) -> list[Row]:
    figures = one["figures"]
    (ratio,) = one["ratios"].values()
    size = figures["one_worker"]["photo_megabytes"]
    return [
        (
            f"photos of {size} MB from the queue to the stored result, one worker",
            f"{figures['one_worker']['photos_per_second']} a second",
        ),
        (
            "the same with two workers",
            (
                f"{figures['two_workers']['photos_per_second']} a second,"
                f" {_times(ratio['value'])} one worker's"
            ),
        ),
    ]


def _memory(one: Fields) -> list[Row]:
    sizes: Mapping[str, float] = one["figures"]["mebibytes"]
    said = ", ".join(f"{name} {size:.0f}" for name, size in sizes.items() if name != "bare")
    return [("memory of each program, MiB (PSS, after one case)", said)]


def _simulation(one: Fields) -> list[Row]:
    found = one["figures"]
    measured, simulated = (found[way]["latency_mean"] for way in ("measured", "simulated"))
    return [
        (
            f"the simulated queue beside the real one, {found['cases']} cases, mean until analysed",
            f"{simulated:.2f} s simulated, {measured:.2f} s measured",
        )
    ]


def _times(value: float) -> str:
    return f"{value:.2f} times"


_PAGE_WORDS: Final = {
    "queue-page": "review queue, 3,000 cases open",
    "queue-page-all-open": "review queue, every case open",
    "case-page": "a case at the desk",
    "case-list": "a patient's list of cases",
    "fhir-search": "FHIR search",
}
_ROWS: Final[Mapping[str, Callable[[Fields], list[Row]]]] = {
    **dict.fromkeys(_PAGE_WORDS, _pages),
    "analysis": _analysis,
    "analysis-as-it-serves": _analysis,
    "submissions": _submissions,
    "screening": _screening,
    "memory": _memory,
    "simulation": _simulation,
}


if __name__ == "__main__":
    sys.exit(main())
