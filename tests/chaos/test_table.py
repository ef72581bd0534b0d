"""The table shows every fault that was tried, and what did not hold, loudly."""

import json
from pathlib import Path

import pytest

from tools.chaos import table
from tools.chaos.catalogue import FAULTS, NoSuchFaultError
from tools.chaos.fault import Fault
from tools.chaos.trial import Figures, Outcome

FAULT = Fault(4, "broker killed", "nothing is lost", lambda _: None)
STORM = Fault(31, "storm", "nothing is lost", lambda _: None, storm=True)
FIGURES = Figures.of(3, 4, (1.0, 2.0, 9.0))


def outcome(fault: Fault = FAULT, seconds: float | None = 2.0, *problems: str) -> Outcome:
    return Outcome(fault, "SQLite + Valkey", seconds, FIGURES, list(problems))


def test_runs_of_one_fault_on_one_stack_are_one_row() -> None:
    text = table.as_markdown([outcome(seconds=2.0), outcome(seconds=4.0), outcome(seconds=9.5)])

    assert (
        "| 4 | broker killed | nothing is lost | SQLite + Valkey | 3 | 3 | 4.0 s | 9.5 s |" in text
    )
    assert "Not survived" not in text
    assert len({line.count("|") for line in text.splitlines() if line.startswith("|")}) == 1


def test_a_fault_that_was_not_survived_is_said_twice() -> None:
    text = table.as_markdown([outcome(), outcome(FAULT, None, "Case 1 was lost.")])

    assert "| 2 | **1** | 2.0 s | 2.0 s |" in text
    assert "- 4 broker killed on SQLite + Valkey: Case 1 was lost." in text


def test_a_fault_that_never_recovered_has_no_time() -> None:
    assert "| **0** | - | - |" in table.as_markdown([outcome(FAULT, None, "No end.")])


def test_a_storm_has_a_line_of_latencies() -> None:
    text = table.as_markdown([outcome(), outcome(STORM)])

    assert "| storm | SQLite + Valkey | 3 | 4 | 2.0 s | 8.3 s | 9.0 s | 2.0 s |" in text
    assert text.count("broker killed") == 1


def test_words_before_the_table_stay() -> None:
    assert table.as_markdown([outcome()], heading=["**No Redis.**"]).startswith("**No Redis.**\n")


def test_the_summary_has_one_line_for_a_fault_and_shouts_what_was_not_survived() -> None:
    text = table.as_summary([outcome(), outcome(seconds=9.5), outcome(STORM, None, "Lost.")])

    assert text.splitlines()[2:4] == [
        "| 4 | broker killed | 9.5 s |",
        "| 31 | storm | **not survived** |",
    ]
    assert "2 of 3 trials survived" in text


def test_the_json_has_what_the_table_has() -> None:
    (one,) = table.as_json([outcome(FAULT, None, "Case 1 was lost.")])

    assert (one["number"], one["survived"], one["problems"]) == (4, False, ["Case 1 was lost."])
    assert (one["cases"], one["executions"], one["latency_max"]) == (3, 4, 9.0)


def test_outcomes_that_were_left_as_json_make_the_same_table() -> None:
    fault = FAULTS[0]
    made = [outcome(fault), outcome(fault, None, "Case 1 was lost.")]

    read = table.from_json(json.loads(json.dumps(table.as_json(made))))

    assert table.as_markdown(read) == table.as_markdown(made)


def test_outcomes_of_a_fault_that_is_gone_are_refused() -> None:
    (one,) = table.as_json([outcome()])
    with pytest.raises(NoSuchFaultError, match="broker killed"):
        table.from_json([one])


def test_the_table_goes_between_the_marks(tmp_path: Path) -> None:
    document = tmp_path / "chaos.md"
    document.write_text(f"Before.\n{table.BEGIN}\nold\n{table.END}\nAfter.\n", encoding="utf-8")

    for _ in range(2):
        table.put_between_marks(document, "new\n")

    expected = f"Before.\n{table.BEGIN}\nnew\n{table.END}\nAfter.\n"
    assert document.read_text(encoding="utf-8") == expected


@pytest.mark.parametrize("text", ["no marks", table.BEGIN, f"{table.END} {table.BEGIN}"])
def test_a_document_without_marks_is_left_alone(tmp_path: Path, text: str) -> None:
    document = tmp_path / "chaos.md"
    document.write_text(text, encoding="utf-8")

    with pytest.raises(table.NoMarksError, match="has no lines"):
        table.put_between_marks(document, "new\n")

    assert document.read_text(encoding="utf-8") == text
