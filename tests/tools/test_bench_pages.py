"""The benchmarks of pages measure real pages: every way of asking answers, at every size."""

import json

import pytest

from tools import bench_pages
from tools.bench_pages import ALL_OPEN, PAGES

SIZES = (200, 400)
ROUNDS = 1


@pytest.mark.postgres
@pytest.mark.slow
def test_every_page_answers_at_every_size_and_gives_its_ratios() -> None:
    names = [*PAGES, ALL_OPEN]
    found = list(bench_pages.run(names, sizes=SIZES, rounds=ROUNDS, loads=1))

    assert [one.name for one in found] == names
    for outcome in found:
        assert json.dumps(outcome.to_dict())
        for by_size in outcome.figures.values():
            assert set(by_size) == {"200", "400"}
        for ratio in outcome.ratios:
            assert "400 cases to 200" in ratio.name
            assert len(ratio.rounds) == ROUNDS
            assert min(ratio.rounds) > 0
