"""Drift charts: where each bar of an SVG stands. The template draws; nothing is inline style."""

from dataclasses import dataclass

from ml.drift import Drift, Level, Side, Signal

WIDTH = 320
LABEL_WIDTH = 108
VALUE_WIDTH = 44
ROW_HEIGHT = 26
BAR_HEIGHT = 8

LEVEL_WORDS = {
    Level.COLLECTING: ("Collecting", "grey"),
    Level.STEADY: ("Steady", "green"),
    Level.WATCH: ("Watch", "yellow"),
    Level.ALARM: ("Alarm", "red"),
}
LEVEL_SENTENCES = {
    Level.COLLECTING: "There are not enough results yet to compare.",
    Level.STEADY: "The newest results look like this model's first ones.",
    Level.WATCH: "One side moved, the other did not. Photos alone may change without harm.",
    Level.ALARM: "The photos changed, and the answers with them. See the runbook.",
}


@dataclass(frozen=True)
class Row:
    """One pair of bars: lengths in the chart's units, shares in percent."""

    label: str
    top: int
    reference_width: float
    window_width: float
    reference_percent: float
    window_percent: float


@dataclass(frozen=True)
class Chart:
    """One signal, ready to draw in a box of WIDTH x height units."""

    name: str
    side: str
    shifted: bool
    distance: float
    chance: str
    height: int
    rows: tuple[Row, ...]
    summary: str


def chart(signal: Signal) -> Chart:
    longest = max(max(bar.reference, bar.window) for bar in signal.bars) or 1.0
    room = WIDTH - LABEL_WIDTH - VALUE_WIDTH
    rows = tuple(
        Row(
            label=bar.label,
            top=place * ROW_HEIGHT,
            reference_width=round(room * bar.reference / longest, 1),
            window_width=round(room * bar.window / longest, 1),
            reference_percent=100.0 * bar.reference,
            window_percent=100.0 * bar.window,
        )
        for place, bar in enumerate(signal.bars)
    )
    return Chart(
        name=signal.name,
        side="photos" if signal.side is Side.PHOTOS else "answers",
        shifted=signal.shifted,
        distance=signal.distance,
        chance=_chance(signal.p_value),
        height=len(rows) * ROW_HEIGHT,
        rows=rows,
        summary=_summary(signal),
    )


def charts(drift: Drift) -> list[Chart]:
    return [chart(signal) for signal in drift.signals]


def _chance(p_value: float) -> str:
    return "less than 1 in 1,000" if p_value < 0.001 else f"{p_value:.3f}"


def _summary(signal: Signal) -> str:
    """What a person who does not see the chart needs first; the table has the rest."""
    moved = max(signal.bars, key=lambda bar: abs(bar.window - bar.reference))
    change = f"from {moved.reference:.0%} to {moved.window:.0%}"
    return f"The largest change is at {moved.label}: {change}."
