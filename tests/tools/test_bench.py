"""The command around the benchmarks: what it runs, keeps, saves and refuses."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tools import bench
from tools.bench import Group
from tools.bench_result import Outcome, Ratio


class Fake:
    """Two benchmarks on one stand; `speed` is what the ratio of both will be."""

    def __init__(self) -> None:
        self.speed = 4.0
        self.ran: list[Sequence[str]] = []

    def run(self, names: Sequence[str]) -> Iterator[Outcome]:
        self.ran.append(names)
        for name in names:
            rounds = tuple(self.speed * share for share in (1.0, 1.01, 0.99))
            yield Outcome(name, {"per_second": 7}, (Ratio(f"{name} to plain", "higher", rounds),))


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Fake:
    made = Fake()
    monkeypatch.setattr(bench, "GROUPS", (Group(("one", "two"), made.run),))
    monkeypatch.setattr(bench, "NAMES", ("one", "two"))
    monkeypatch.setattr(bench, "KEPT_FILE", tmp_path / "bench" / "ratios.json")
    monkeypatch.setattr(bench, "LATEST_FILE", tmp_path / "bench" / "latest.json")
    monkeypatch.setattr(bench, "_give_up_after", lambda _: None)
    return made


def test_each_benchmark_prints_a_line_of_json_and_the_table_follows(
    fake: Fake, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bench.main([]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [json.loads(line)["benchmark"] for line in lines[:2]] == ["one", "two"]
    assert "| one to plain | 4.00 times |" in lines
    assert fake.ran == [["one", "two"]]


def test_one_benchmark_runs_alone(fake: Fake) -> None:
    assert bench.main(["--only", "two"]) == 0
    assert fake.ran == [["two"]]


def test_the_check_holds_against_what_was_kept_and_fails_when_it_got_worse(
    fake: Fake, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bench.main(["--keep"]) == 0
    assert bench.main(["--check"]) == 0
    fake.speed = 2.0
    assert bench.main(["--check"]) == 1
    assert "worse    one to plain" in capsys.readouterr().out


@pytest.mark.usefixtures("fake")
def test_what_is_not_kept_yet_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    bench.main(["--keep", "--only", "one"])
    assert bench.main(["--check"]) == 0
    assert "new      two to plain: not kept yet" in capsys.readouterr().out


def test_keeping_one_benchmark_leaves_the_others(fake: Fake) -> None:
    bench.main(["--keep"])
    fake.speed = 8.0
    bench.main(["--keep", "--only", "two"])
    kept = bench.kept_ratios()
    assert (kept["one to plain"].value, kept["two to plain"].value) == (4.0, 8.0)


@pytest.mark.usefixtures("fake")
def test_the_figures_of_the_documents_are_written_only_when_asked() -> None:
    bench.main(["--check"])
    assert not bench.LATEST_FILE.exists()
    bench.main(["--keep"])
    assert set(json.loads(bench.LATEST_FILE.read_text(encoding="utf-8"))) == {"one", "two"}


def test_every_benchmark_is_named_once() -> None:
    names = [name for group in bench.GROUPS for name in group.names]
    assert sorted(names) == sorted(set(bench.NAMES))
    assert {"analysis", "screening", "submissions", "queue-page", "fhir-search"} <= set(names)
