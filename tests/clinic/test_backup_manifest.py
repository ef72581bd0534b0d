"""A manifest says what was written, and nothing else under its MAC."""

import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from clinic import backup_manifest
from clinic.backup_manifest import BackupManifest, ManifestError
from clinic.sealed_part import Part

KEY = b"a" * 32
MANIFEST = BackupManifest(
    made_at=datetime(2026, 11, 23, 10, 15, tzinfo=UTC),
    revision="0004",
    audit_sequence=12,
    audit_mac="f" * 64,
    database=Part("database.age", 1000, "1" * 64),
    bodies=Part("bodies.tsv", 10, "2" * 64),
    ledger=Part("erasures.jsonl", 0, "3" * 64),
    damaged=("d" * 32,),
    master_keys=("e" * 16, "f" * 16),
)


def test_it_comes_back_as_it_was() -> None:
    assert BackupManifest.from_json(MANIFEST.to_json(KEY), KEY) == MANIFEST
    assert [part.size for part in MANIFEST.parts] == [1000, 10, 0]


def test_one_from_before_master_keys_had_ids_is_still_read() -> None:
    older = replace(MANIFEST, master_keys=())
    text = json.loads(json.loads(older.to_json(KEY))["manifest"])
    del text["master_keys"]
    signed = json.dumps(text)
    outer = json.dumps({"manifest": signed, "mac": backup_manifest._mac(KEY, signed)})
    assert BackupManifest.from_json(outer, KEY) == older


def test_another_key_or_a_change_is_refused() -> None:
    text = MANIFEST.to_json(KEY)
    with pytest.raises(ManifestError, match="changed, or made under another audit key"):
        BackupManifest.from_json(text, b"b" * 32)
    with pytest.raises(ManifestError, match="changed"):
        BackupManifest.from_json(text.replace("1000", "1001"), KEY)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"manifest": "{}"}', "nonsense"])
def test_what_is_no_manifest_is_refused(text: str) -> None:
    with pytest.raises(ManifestError, match="not one of a backup"):
        BackupManifest.from_json(text, KEY)


def test_another_format_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clinic.backup_manifest.FORMAT", "dermqueue backup 2")
    text = MANIFEST.to_json(KEY)
    monkeypatch.undo()
    with pytest.raises(ManifestError, match="another version"):
        BackupManifest.from_json(text, KEY)
    assert json.loads(text)["mac"]
