"""What is said of pip-audit's answer: faults fail, silence of the network is told."""

import json

from tools.audit import NOT_CHECKED, command, verdict

GOOD = {"name": "flask", "version": "3.1.3", "vulns": []}
BAD = {
    "name": "pillow",
    "version": "1.0",
    "vulns": [{"id": "CVE-2026-1", "fix_versions": ["2.0", "2.1"], "aliases": []}],
}


def test_no_known_fault_is_told_with_the_number_of_packages() -> None:
    words, failed = verdict("x.lock", json.dumps({"dependencies": [GOOD, GOOD]}), "")

    assert (words, failed) == ("No known fault in the 2 packages of x.lock.", False)


def test_a_known_fault_fails_and_names_what_mends_it() -> None:
    answer = json.dumps({"dependencies": [GOOD, BAD]})

    words, failed = verdict("x.lock", answer, "Found 1 known vulnerability")

    assert failed
    assert "pillow 1.0: CVE-2026-1, mended by 2.0, 2.1" in words
    assert "flask" not in words


def test_without_a_connection_nothing_is_checked_and_nothing_fails() -> None:
    for words in ("requests.exceptions.ConnectionError: no such host", "ReadTimeout: slow"):
        assert verdict("x.lock", "", words) == (NOT_CHECKED, False)


def test_any_other_failure_is_one() -> None:
    words, failed = verdict("x.lock", "", "invalid requirements input")

    assert failed
    assert "invalid requirements input" in words


def test_every_version_is_asked_about_as_it_is_locked() -> None:
    asked = command("x.lock")

    assert {"x.lock", "--require-hashes", "--disable-pip"} <= set(asked)
