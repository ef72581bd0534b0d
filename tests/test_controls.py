"""The table of controls in docs/security.md tells the truth: each is proved by tests that exist."""

import ast
import re
from dataclasses import dataclass
from functools import cache

import pytest

from tests.sources import ROOT, syntax_of

CONTROLS = 46
# Not built yet: their rows may say "-".
UNPROVED: frozenset[int] = frozenset()

_ROW = re.compile(r"^\| (\d+) \| ([^|]+) \| ([^|]+) \| ([^|]+) \|$", re.MULTILINE)
_TEST = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")
_REFERENCE = re.compile(r"(ASVS \d+\.\d+\.\d+|HIPAA (164\.\d{3}|NPRM)|GDPR \d+|NPRM)")


@dataclass(frozen=True)
class Row:
    number: int
    control: str
    reference: str
    proof: str

    @property
    def tests(self) -> list[tuple[str, str]]:
        return _TEST.findall(self.proof)


@cache
def table() -> tuple[Row, ...]:
    text = (ROOT / "docs/security.md").read_text(encoding="utf-8")
    _, _, section = text.partition("\n## Controls and their proofs\n")
    return tuple(Row(int(number), *rest) for number, *rest in _ROW.findall(section))


@cache
def collected(file: str) -> frozenset[str]:
    """The names of the tests that pytest collects from a file."""
    tree = syntax_of(ROOT / file)
    classes = [one for one in tree.body if isinstance(one, ast.ClassDef)]
    bodies = [tree.body, *(one.body for one in classes if one.name.startswith("Test"))]
    return frozenset(
        one.name
        for body in bodies
        for one in body
        if isinstance(one, ast.FunctionDef) and one.name.startswith("test_")
    )


def test_every_control_has_its_row_in_order() -> None:
    assert [row.number for row in table()] == list(range(1, CONTROLS + 1))


@pytest.mark.parametrize("row", table(), ids=lambda row: str(row.number))
def test_a_row_says_what_is_controlled_who_asks_for_it_and_which_tests_prove_it(row: Row) -> None:
    assert len(row.control.split()) >= 3
    assert _REFERENCE.match(row.reference)
    assert bool(row.tests) != (row.number in UNPROVED), "a test, or a number in UNPROVED"
    assert (row.proof == "-") == (row.number in UNPROVED)


@pytest.mark.parametrize("row", table(), ids=lambda row: str(row.number))
def test_every_test_that_proves_a_control_is_collected(row: Row) -> None:
    assert len(row.tests) == row.proof.count("`") // 2, "each proof is a test's whole name"
    for file, name in row.tests:
        assert file.rpartition("/")[2].startswith("test_"), file
        assert (ROOT / file).is_file(), file
        assert name in collected(file), f"{file} has no {name}"


def test_a_test_that_does_not_exist_would_be_noticed() -> None:
    assert "test_that_nobody_wrote" not in collected("tests/test_controls.py")
    assert "test_every_control_has_its_row_in_order" in collected("tests/test_controls.py")
    assert Row(1, "", "", "`tests/x.py::test_a`<br>`tests/y.py::test_b`").tests == [
        ("tests/x.py", "test_a"),
        ("tests/y.py", "test_b"),
    ]
