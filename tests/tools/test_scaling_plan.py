"""The plan's arithmetic, on numbers that can be worked out by hand."""

import json
from pathlib import Path

import pytest

from tests.sources import ROOT
from tools import scaling_plan
from tools.scaling_plan import (
    Load,
    Measured,
    Prices,
    capacity_rows,
    cost_per_case,
    growth_rows,
)

FOUND = Measured(
    worker_seconds=0.5,
    store_bytes=4_000_000,
    database_bytes=10_000,
    audit_entries=8.0,
    audit_appends={"1 writers": 300.0, "4 writers": 500.0},
)
MILLION = Load(1e6, burst=1.0, utilisation=0.5)


def test_workers_hold_the_highest_hour_with_room_to_spare() -> None:
    assert MILLION.mean == pytest.approx(11.574, abs=0.001)
    assert MILLION.workers(2.0) == -(-MILLION.peak // 1.0)
    assert MILLION.workers(2.0) > MILLION.mean
    assert Load(1e6, burst=2.0, utilisation=0.5).peak == 2 * MILLION.peak


def test_a_year_is_a_case_times_its_days() -> None:
    rows = dict(growth_rows(MILLION, FOUND))

    assert rows["photo store, a year"] == "1,461 TB"
    assert rows["database, a year"] == "3.7 TB"
    assert rows["database, a month's partition"] == "304 GB"
    assert rows["audit chains"].startswith("1, ")
    assert dict(growth_rows(Load(5e6), FOUND))["audit chains"].startswith("5, ")


def test_a_gpu_that_was_not_measured_has_no_number() -> None:
    assert "not measured" in dict(capacity_rows(MILLION, FOUND, None))["workers with a GPU each"]
    with_gpu = dict(capacity_rows(MILLION, FOUND, 100.0))["workers with a GPU each"]
    assert with_gpu.endswith("= 1")


def test_the_cost_of_a_case_is_workers_and_storage_at_the_given_prices() -> None:
    workers = MILLION.workers(2.0)

    assert cost_per_case(MILLION, FOUND, None, Prices(1.0, 0, 0, 5)) == workers * 24 / 1e6
    assert cost_per_case(MILLION, FOUND, None, Prices(0, 0.02, 0, 5)) == pytest.approx(0.0048)
    assert cost_per_case(MILLION, FOUND, None, Prices(0, 0, 0.1, 5)) == pytest.approx(6e-5)


def test_the_command_reads_what_the_measurement_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "measured.json"
    file.write_text(
        json.dumps(
            {
                "worker_seconds_each": 0.5,
                "store_bytes_of_case": {"photo": 3_000_000, "rendition": 1_000_000},
                "database_bytes_of_case": {"submission": 6000, "sealed_object": 4000},
                "audit_entries_of_case": 8.0,
                "audit_appends_per_second": {"1 writers": 300.0, "4 writers": 500.0},
            }
        )
    )
    monkeypatch.setattr("sys.argv", ["scaling_plan", str(file), "--prices", "1", "0", "0", "1"])

    assert scaling_plan.main() == 0

    printed = capsys.readouterr().out
    assert "1,461 TB" in printed
    assert "cost of a case" in printed


def test_the_document_shows_what_the_command_prints(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["scaling_plan", str(ROOT / "docs/scaling.json")])

    scaling_plan.main()

    printed = capsys.readouterr().out
    assert printed in (ROOT / "docs/scaling.md").read_text(encoding="utf-8"), printed
