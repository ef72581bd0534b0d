"""The locks: complete, with hashes, and as the requirements say."""

import re

import pytest

from tools.lock import ROOT, SOURCES, TORCH_CPU_LOCK, TORCH_LOCK, lock_of, pins_of

PARTS = [lock_of(one) for one in SOURCES]
LOCKS = [*PARTS, TORCH_LOCK, TORCH_CPU_LOCK]


def pins(lock: str) -> list[str]:
    return pins_of((ROOT / lock).read_text(encoding="utf-8"))


def versions(lock: str) -> dict[str, set[str]]:
    """The pinned versions by name; where Python's version decides there are several."""
    found: dict[str, set[str]] = {}
    for pin in pins(lock):
        name, version = pin.split()[0].split("==")
        found.setdefault(name, set()).add(version)
    return found


def asked_for(source: str) -> dict[str, str]:
    text = (ROOT / source).read_text(encoding="utf-8")
    lines = re.findall(r"^([A-Za-z][\w.-]*)(?:\[\w+\])?==([\w.]+)", text, re.MULTILINE)
    return {re.sub(r"[-_.]+", "-", name).lower(): version for name, version in lines}


TORCH = asked_for("requirements.txt")["torch"]


@pytest.mark.parametrize("lock", LOCKS)
def test_every_package_of_a_lock_has_its_version_and_its_hashes(lock: str) -> None:
    assert pins(lock)
    for pin in pins(lock):
        assert re.match(r"[a-z0-9-]+==[\w.+]+ ", pin), pin
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", pin), pin


@pytest.mark.parametrize("source", SOURCES)
def test_a_lock_has_exactly_the_versions_that_are_asked_for(source: str) -> None:
    locked = versions(lock_of(source))

    assert asked_for(source)
    for name, version in asked_for(source).items() - {("torch", TORCH)}:
        assert locked.get(name) == {version}, f"{name}: make lock"


def test_the_locks_agree_with_each_other() -> None:
    everything = versions(lock_of(SOURCES[-1]))

    for lock in PARTS:
        for name, found in versions(lock).items():
            assert found <= everything[name]


def test_torch_and_what_it_alone_needs_stand_in_their_own_locks() -> None:
    alone = versions(TORCH_LOCK)

    assert alone["torch"] == {TORCH}
    assert versions(TORCH_CPU_LOCK) == {"torch": {f"{TORCH}+cpu"}}
    assert {"triton", "nvidia-cublas"} <= set(alone)
    for lock in PARTS:
        assert set(alone) & set(versions(lock)) == set()


def test_no_lock_names_a_place_to_get_packages_from() -> None:
    for lock in LOCKS:
        text = (ROOT / lock).read_text(encoding="utf-8")
        assert "://" not in text
        assert "--index" not in text
        assert "--find-links" not in text
