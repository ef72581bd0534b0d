"""No secret is in the repository: neither a key, a token nor a password of a real account."""

import re
import subprocess
from functools import cache
from pathlib import Path

import pytest

from tests.sources import ROOT

# Each names its secret by its own shape. Guesses by entropy or by the name of a variable say more
# about digests and test data.
SECRETS = {
    "a private key": re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----"),
    "a secret key of age": re.compile(r"AGE-SECRET-KEY-1[A-Z0-9]{20,}"),
    "a key of a cloud": re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b|\bAIza[\w-]{35}\b"),
    "a token of a code host": re.compile(
        r"\b(?:gh[pousr]_\w{36}|github_pat_\w{60,}|glpat-[\w-]{20})"
    ),
    "a token of a registry": re.compile(r"\bpypi-[\w-]{50,}|\bnpm_\w{36}\b"),
    "a token of a service": re.compile(
        r"\b(?:xox[abprs]-[\w-]{20,}|sk-[\w-]{32,}|sk_live_\w{20,})"
    ),
    "a signed web token": re.compile(r"\beyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]{10,}"),
    "a key in a setting": re.compile(
        r"(?i)(?:key|secret|token|password)[\"']?\s*[=:]\s*[\"']?[A-Za-z0-9+/]{42,}={0,2}(?![\w+/])"
    ),
    "a password in an address": re.compile(
        r"\w://[\w.-]+:(?!password@|secret@|hunter2@)[^@:\s/{}<>\"']{6,}@"
    ),
}
DIGESTS = re.compile(
    r"\.lock$|^package-lock\.json$"
)  # nothing else stands in these, and much of it
SECRET_NAMES = re.compile(
    r"(?:^|/)(?:\.env|people\.json|id_(?:rsa|ed25519)|.*\.(?:key|pem|p12|pfx|jks|kdbx|age))$"
)


@cache
def files() -> tuple[Path, ...]:
    """Every file that git keeps or would add."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode != 0:
        pytest.skip("this copy of the source is no repository")
    paths = (ROOT / name for name in listed.stdout.split("\0") if name)
    return tuple(path for path in paths if path.is_file() and not path.is_symlink())


def text_of(path: Path) -> str:
    data = path.read_bytes()
    return "" if b"\0" in data[:4096] else data.decode("utf-8", errors="replace")


def found_in(path: Path) -> list[str]:
    text = text_of(path)
    return [words for words, pattern in SECRETS.items() if pattern.search(text)]


def test_no_file_holds_what_looks_like_a_secret() -> None:
    found = {
        str(path.relative_to(ROOT)): kinds
        for path in files()
        if not DIGESTS.search(path.name) and (kinds := found_in(path))
    }

    assert len(files()) > 500
    assert found == {}


def test_no_file_has_the_name_of_a_secret() -> None:
    names = [path.relative_to(ROOT).as_posix() for path in files()]

    assert [name for name in names if SECRET_NAMES.search(name)] == []


@pytest.mark.parametrize(
    "planted",
    [
        "-----BEGIN " + "PRIVATE KEY-----\nMIIB",
        "AGE-SECRET-" + "KEY-1" + "Q" * 58,
        "token = 'ghp_" + "a1B2" * 9 + "'",
        "aws = AKIA" + "ABCDEFGHIJ234567",
        "DERMQUEUE_AUDIT_" + "KEY=" + "q7Zk" * 10 + "abc=",
        "redis://web:" + "h0lymoly77@broker:6379/0",
    ],
)
def test_a_planted_secret_is_found(tmp_path: Path, planted: str) -> None:
    path = tmp_path / "settings.txt"
    path.write_text(f"{planted}\n", encoding="utf-8")

    assert found_in(path) != []


def test_a_planted_key_file_is_found_by_its_name() -> None:
    for name in ("secrets/root.key", ".env", "deploy/tls.pem", "var/people.json"):
        assert SECRET_NAMES.search(name)
    assert not SECRET_NAMES.search(".env.example")
