"""Anchors: appended durably, signed, and refused when a line was changed."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from clinic.audit_anchor import Anchor, AnchorError, AnchorFile
from clinic.installation_key import InstallationKey, InstallationPublicKey

KEY = InstallationKey(b"i" * 32)
PUBLIC = InstallationPublicKey.of(KEY.public)
AT = datetime(2026, 11, 23, 9, 30, tzinfo=UTC)
FIRST, SECOND = Anchor(3, "a" * 64, AT), Anchor(7, "b" * 64, AT)


@pytest.fixture
def file(tmp_path: Path) -> AnchorFile:
    file = AnchorFile(tmp_path / "anchors.jsonl")
    for one in (FIRST, SECOND):
        file.add(one, KEY)
    return file


def test_anchors_are_read_in_their_order(file: AnchorFile) -> None:
    assert file.read(PUBLIC) == [FIRST, SECOND]
    assert file.last(PUBLIC) == SECOND


def test_there_are_none_where_no_file_is_yet(tmp_path: Path) -> None:
    file = AnchorFile(tmp_path / "nothing")
    assert file.read(PUBLIC) == []
    assert file.last(PUBLIC) is None


@pytest.mark.parametrize("change", [("3", "4"), ("aaaa", "aaab"), ("09:30", "09:31")])
def test_a_changed_line_is_named(file: AnchorFile, change: tuple[str, str]) -> None:
    file.path.write_text(file.path.read_text().replace(*change, 1))
    with pytest.raises(AnchorError, match="Line 1 "):
        file.read(PUBLIC)


def test_the_last_line_is_checked_too(file: AnchorFile) -> None:
    file.path.write_text(file.path.read_text().replace("bbbb", "cccc", 1))
    with pytest.raises(AnchorError, match="was changed"):
        file.last(PUBLIC)


def test_another_installation_s_anchors_are_refused(file: AnchorFile) -> None:
    with pytest.raises(AnchorError, match="another installation"):
        file.read(InstallationPublicKey.of(InstallationKey(b"x" * 32).public))


def test_a_line_that_a_crash_cut_off_is_left_out(file: AnchorFile) -> None:
    file.path.write_bytes(file.path.read_bytes() + b'{"sequence": 9, "ma')
    assert file.read(PUBLIC) == [FIRST, SECOND]
    assert file.last(PUBLIC) == SECOND


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(AnchorError, match="cannot be written"):
        AnchorFile(tmp_path / "no folder" / "anchors").add(FIRST, KEY)


def test_only_its_owner_can_read_the_file(file: AnchorFile) -> None:
    assert file.path.stat().st_mode & 0o777 == 0o600
