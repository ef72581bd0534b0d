"""The erasure ledger keeps what it was told, survives a crash and shows any change."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from clinic.erasure_ledger import ErasureLedger, LedgerError, extends

AT = datetime(2026, 11, 23, 10, 0, tzinfo=UTC)
PATIENTS = ["a" * 32, "b" * 32, "c" * 32]


@pytest.fixture
def ledger(tmp_path: Path) -> ErasureLedger:
    """Three patients were erased, an hour apart."""
    ledger = ErasureLedger(tmp_path / "erasures.jsonl", b"k" * 32)
    for hours, patient_id in enumerate(PATIENTS):
        ledger.add(patient_id, at=AT + timedelta(hours=hours))
    return ledger


def named(ledger: ErasureLedger) -> list[str]:
    return [one.patient_id for one in ledger.read()]


def test_it_names_whom_it_was_told_in_order_and_when(ledger: ErasureLedger) -> None:
    assert named(ledger) == PATIENTS
    assert ledger.read()[2].at == AT + timedelta(hours=2)


def test_it_is_empty_before_the_first_erasure(tmp_path: Path) -> None:
    assert ErasureLedger(tmp_path / "none", b"k" * 32).read() == []


def test_a_patient_is_written_down_once(ledger: ErasureLedger) -> None:
    before = ledger.path.read_bytes()
    ledger.add(PATIENTS[1], at=AT + timedelta(days=1))
    assert ledger.path.read_bytes() == before


def test_it_is_readable_by_its_owner_alone(ledger: ErasureLedger) -> None:
    assert ledger.path.stat().st_mode & 0o777 == 0o600


def test_a_line_that_a_crash_cut_off_does_not_count_and_is_written_over(
    ledger: ErasureLedger,
) -> None:
    whole = ledger.path.read_bytes()
    ledger.path.write_bytes(whole + whole.splitlines()[0][:40])
    assert named(ledger) == PATIENTS

    ledger.add("d" * 32, at=AT)

    assert named(ledger) == [*PATIENTS, "d" * 32]
    assert ledger.path.read_bytes().startswith(whole)


@pytest.mark.parametrize("change", ["drop", "swap", "edit", "nonsense", "not an object"])
def test_a_change_is_named_by_its_line(ledger: ErasureLedger, change: str) -> None:
    lines = ledger.path.read_text().splitlines()
    changed = {
        "drop": [lines[0], lines[2]],
        "swap": [lines[0], lines[2], lines[1]],
        "edit": [lines[0], json.dumps({**json.loads(lines[1]), "patient": "e" * 32}), lines[2]],
        "nonsense": [lines[0], "nonsense", lines[2]],
        "not an object": [lines[0], "[]", lines[2]],
    }[change]
    ledger.path.write_text("\n".join(changed) + "\n")

    with pytest.raises(LedgerError, match=r"Line 2 of the erasure ledger .* was changed"):
        ledger.read()
    with pytest.raises(LedgerError, match="Line 2"):
        ledger.add("d" * 32, at=AT)


def test_another_key_does_not_verify_it(ledger: ErasureLedger) -> None:
    with pytest.raises(LedgerError, match="Line 1"):
        ErasureLedger(ledger.path, b"x" * 32).read()


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    ledger = ErasureLedger(tmp_path / "no such folder" / "erasures.jsonl", b"k" * 32)
    with pytest.raises(LedgerError, match=r"no such folder/erasures\.jsonl cannot be written"):
        ledger.add("a" * 32, at=AT)


def test_a_copy_holds_the_same_and_later_entries_extend_it(
    ledger: ErasureLedger, tmp_path: Path
) -> None:
    copy = ErasureLedger(tmp_path / "copy", b"k" * 32)
    ledger.copy_to(copy.path)
    ledger.add("d" * 32, at=AT)

    assert named(copy) == PATIENTS
    assert extends(ledger.read(), copy.read())
    assert not extends(copy.read(), ledger.read())
