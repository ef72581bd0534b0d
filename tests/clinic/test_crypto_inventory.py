"""No algorithm is in use that the inventory does not list, in either language."""

import ast
import re
from pathlib import Path

from clinic import container
from clinic.crypto_inventory import INVENTORY
from tests.sources import ROOT

PROGRAMS = ("clinic", "web", "worker")
# Libraries that compute with keys; `secrets` alone makes random bytes.
LIBRARIES = (
    *("cryptography", "hashlib", "hmac", "ssl"),
    *("argon2", "pyrage", "pyotp", "webauthn", "jwt", "joserfc"),
)
WITHOUT_ALGORITHM = ("cryptography.exceptions", "argon2.exceptions")
LISTED = {name for one in INVENTORY for name in one.imports}


def imported(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return {one for one in found if one.partition(".")[0] in LIBRARIES}


def in_use() -> dict[str, set[str]]:
    """The modules of libraries that compute with keys, and who imports them."""
    users: dict[str, set[str]] = {}
    for path in (path for name in PROGRAMS for path in (ROOT / name).rglob("*.py")):
        for name in imported(path) - set(WITHOUT_ALGORITHM):
            users.setdefault(name, set()).add(path.relative_to(ROOT).as_posix())
    return users


def entry_of(name: str) -> str | None:
    """What lists a module: itself, or a package that it belongs to."""
    return next((one for one in LISTED if f"{name}.".startswith(f"{one}.")), None)


def test_every_library_in_use_is_listed_and_every_listed_one_is_used() -> None:
    users = in_use()
    entries = {name: entry_of(name) for name in users}
    unlisted = {name: users[name] for name, entry in entries.items() if entry is None}
    assert unlisted == {}, "say in clinic/crypto_inventory.py what it is for"
    assert set(entries.values()) == LISTED


def test_every_id_that_the_container_accepts_is_listed() -> None:
    text = " ".join(one.identifier for one in INVENTORY)
    for name, value in vars(container).items():
        if re.match(r"(KEM|KDF|AEAD|ALG)_", name):
            assert (f"{value:#06x}" if isinstance(value, int) else value) in text, name


def test_the_browser_accepts_the_same_ids_and_no_other() -> None:
    script = (ROOT / "web/portal/static/js/dseal.js").read_text(encoding="utf-8")
    for name in ("KEM_X25519", "KDF_HKDF_SHA256", "AEAD_AES_256_GCM"):
        assert re.findall(rf"^const {name} = (0x[0-9a-f]{{4}});", script, re.MULTILINE) == [
            f"{getattr(container, name):#06x}"
        ]
    ids = re.findall(r"^const (?:KEM|KDF|AEAD|ALG)_\w+", script, re.MULTILINE)
    assert len(ids) == 4
    used = set(re.findall(r'(?:name|"): ?"([\w-]+)"', script)) | set(
        re.findall(r'"(AES-GCM|HKDF|X25519|SHA-\d+)"', script)
    )
    assert used <= {"AES-GCM", "HKDF", "X25519", "SHA-256"}


def test_a_weak_digest_is_called_only_where_no_security_rests_on_it() -> None:
    for path in (path for name in PROGRAMS for path in (ROOT / name).rglob("*.py")):
        for line in path.read_text(encoding="utf-8").splitlines():
            weak = re.search(r"hashlib\.(?!sha256\b|file_digest\b)\w+", line)
            assert not weak or "usedforsecurity=False" in line, f"{path}: {line}"


def test_each_entry_says_what_for_and_what_a_quantum_computer_does() -> None:
    for one in INVENTORY:
        assert one.use
        assert one.standard
        assert one.quantum.startswith(("holds", "falls"))
        assert one.imports
