"""The rows of the documents come from what was measured."""

import pytest

from tools.bench_table import BEGIN, END, table, with_table

PAGES = {
    "benchmark": "queue-page",
    "figures": {
        "all": {"10000": 10.2, "1000000": 11.6},
        "overdue": {"10000": 10.0, "1000000": 14.9},
    },
    "ratios": {
        "queue-page: all, 1,000,000 cases to 10,000": {"value": 1.13},
        "queue-page: overdue, 1,000,000 cases to 10,000": {"value": 1.49},
    },
}


def test_a_page_is_told_by_its_slowest_way_of_asking() -> None:
    (_, _, row) = table([PAGES])
    assert "overdue, the worst of 2" in row
    assert "10 ms at 10,000, 15 ms at 1,000,000 cases: 1.49 times" in row


def test_a_benchmark_without_words_of_its_own_shows_its_ratios() -> None:
    unknown = {"benchmark": "new", "figures": {}, "ratios": {"new to old": {"value": 2.0}}}
    assert table([unknown])[2:] == ["| new to old | 2.00 times |"]


def test_only_what_stands_between_the_marks_is_replaced() -> None:
    text = f"before\n{BEGIN}\nold\n{END}\nafter\n"
    assert with_table(text, ["| a | b |"]) == f"before\n{BEGIN}\n| a | b |\n{END}\nafter\n"


def test_a_text_without_marks_is_not_touched() -> None:
    with pytest.raises(LookupError, match="no marks"):
        with_table("no table here", [])


def test_the_simulation_is_told_beside_what_was_measured() -> None:
    found = {
        "cases": 53,
        "measured": {"latency_mean": 3.17},
        "simulated": {"latency_mean": 3.5},
    }
    (row,) = table([{"benchmark": "simulation", "figures": found, "ratios": {}}])[2:]
    assert "53 cases" in row
    assert "3.50 s simulated, 3.17 s measured" in row
