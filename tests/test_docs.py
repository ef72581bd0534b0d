"""The documents tell the truth: what they name exists, and the words on safety stand in them."""

import importlib.util
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import click
import pytest
from flask import Flask

from ml.artifact import live_bundle, read_manifest
from ml.model_card import headline
from tests.production_by_hand import COMPOSE
from tools.bench_table import latest_table, with_table
from web.backup_commands import backup_commands, restore_keys, restore_records
from web.cli import register_commands
from web.keys_commands import keys_commands
from web.patients_commands import patients_commands
from web.training_set import training_set_commands

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = sorted(
    [
        *ROOT.glob("*.md"),
        *ROOT.glob("docs/**/*.md"),
        *ROOT.glob("deploy/**/*.md"),
        ROOT / "ml/weights/LICENSE.md",
    ]
)
README = (ROOT / "README.md").read_text(encoding="utf-8")
SCREENSHOTS = ROOT / "docs/img"

_LINK = re.compile(r"\]\(([^)#\s]+)")
_CODE = re.compile(r"`([^`\n]+)`|^```\w*\n(.*?)^```", re.MULTILINE | re.DOTALL)
_DRAWING = re.compile(r"^```mermaid\n.*?^```", re.MULTILINE | re.DOTALL)
_PATH = re.compile(
    r"(?<![\w/.$:-])((?:\.?[\w-]+/)+[\w.-]*|[\w-]+\.(?:py|md|txt|toml|yml))(?![\w/*])"
)
_NO_PATH = re.compile(r"(out|var|secrets|runs|my-photo|application|system)\b")
_MACHINE_PATH = re.compile(r"(?<![\w.])/(?:work|home|root|Users|tmp)/")


def _name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def code_of(path: Path) -> list[str]:
    """Every piece of code in a document, a fenced block line by line."""
    found = []
    text = _DRAWING.sub("", path.read_text(encoding="utf-8"))
    for inline, block in _CODE.findall(text):
        joined = (inline or block).replace("\\\n", " ")
        found += joined.splitlines()
    return found


def commands(word: str) -> list[str]:
    """The lines in code of all documents that call `word`, without their comments."""
    lines = [line.partition(" #")[0].strip() for path in DOCUMENTS for line in code_of(path)]
    return [line for line in lines if re.match(rf"{word}(\s|\Z)", line)]


@pytest.mark.parametrize("document", DOCUMENTS, ids=_name)
def test_every_relative_link_leads_somewhere(document: Path):
    for link in _LINK.findall(document.read_text(encoding="utf-8")):
        if "://" in link or Path(link).suffix == ".png":
            continue
        assert (document.parent / link).exists(), link


def test_every_screenshot_is_one_that_the_journey_makes():
    shown = [Path(link) for link in _LINK.findall(README) if link.endswith(".png")]
    journey = (ROOT / "tests/browser/test_journey.py").read_text(encoding="utf-8")
    made = {path.name for path in SCREENSHOTS.glob("*.png")}
    assert shown
    for one in shown:
        assert one.stem in journey, one
        assert not made or one.name in made, f"{one} is missing: make screenshots"


@pytest.mark.parametrize("document", DOCUMENTS, ids=_name)
def test_every_path_in_code_exists(document: Path):
    for line in code_of(document):
        for found in _PATH.findall(line):
            if not _NO_PATH.match(found):
                near, far = document.parent / found, ROOT / found
                assert near.exists() or far.exists(), f"{found} in {line!r}"


def test_every_make_target_exists():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([\w-]+):", makefile, re.MULTILINE))
    named = {line.split()[1] for line in commands("make") if len(line.split()) > 1}
    assert {"demo", "test", "lint", "bench", "screenshots"} <= named
    assert named <= targets


@cache
def _demo_help() -> str:
    return subprocess.run(
        [sys.executable, "-m", "tools.demo", "--help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout


def test_every_option_of_the_demo_exists_and_is_explained():
    known = set(re.findall(r"(--[a-z]+)", _demo_help())) - {"--help"}
    used = {option for line in commands("bin/demo") for option in re.findall(r"--[a-z]+", line)}
    explained = set(re.findall(r"^\| `(--[a-z]+)", README, re.MULTILINE))
    assert used <= known
    assert explained == known


def _flask_commands() -> dict[str, click.Command]:
    app = Flask("documents")
    register_commands(app)
    for one in (training_set_commands, patients_commands, keys_commands):
        app.cli.add_command(one)
    for one in (backup_commands, restore_records, restore_keys):
        app.cli.add_command(one)
    found: dict[str, click.Command] = {}
    for name, command in app.cli.commands.items():
        if isinstance(command, click.Group):
            found |= {f"{name} {one}": inner for one, inner in command.commands.items()}
        if not isinstance(command, click.Group) or command.invoke_without_command:
            found[name] = command
    return found


def _engineers_commands() -> list[str]:
    """What follows `flask [--app X]` or `admin` in the documents."""
    plain = [re.sub(r"^flask( --app \S+)?\s*", "", line) for line in commands("flask")]
    short = [line.removeprefix("admin ") for line in commands("admin")]
    composed = [
        line.partition(f" {name} ")[2]
        for line in commands("docker")
        for name in ("admin", "backup", "restore")
        if f" {name} " in line.partition(" run ")[2]
    ]
    return [line for line in plain + short + composed if line and line != "admin"]


def test_every_flask_command_and_its_options_exist():
    known = _flask_commands()
    named = [line for line in _engineers_commands() if not line.startswith(("db ", "--"))]
    assert len(named) > 5
    for line in named:
        command = known.get(" ".join(line.split()[:2])) or known[line.split()[0]]
        options = {option for each in command.params for option in each.opts}
        assert set(re.findall(r"\s(--[a-z-]+)", line)) <= options, line


def test_every_command_is_in_the_runbook_or_the_readme():
    told = " ".join(_engineers_commands())
    assert [name for name in _flask_commands() if name not in told] == []


def test_every_module_that_is_started_exists():
    lines = [line for path in DOCUMENTS for line in code_of(path)]
    named = {one for line in lines for one in re.findall(r"python -m ([\w.]+)", line)}
    assert named
    for one in named:
        assert importlib.util.find_spec(one) is not None, one


def test_every_service_that_a_command_names_exists():
    for line in commands("docker"):
        for found in re.findall(r"(?:compose (?:logs|run --rm)|--scale) (\w+)", line):
            assert found in COMPOSE["services"], line


@pytest.mark.parametrize("document", DOCUMENTS, ids=_name)
def test_no_document_names_a_path_of_one_machine(document: Path):
    assert _MACHINE_PATH.search(document.read_text(encoding="utf-8")) is None


def test_every_decision_is_in_the_list():
    listed = set(_LINK.findall((ROOT / "docs/adr/README.md").read_text(encoding="utf-8")))
    written = {path.name for path in (ROOT / "docs/adr").glob("0*.md")}
    assert listed == written
    assert len(written) >= 9


def test_the_first_screen_says_what_it_is_and_what_it_is_not():
    line = (
        "Research and demonstration software. Not a medical device, no CE/UKCA mark, "
        "not for clinical use."
    )
    layout = (ROOT / "web/portal/templates/layout.html").read_text(encoding="utf-8")
    first_screen = "\n".join(README.splitlines()[:40])
    assert f"**{line}**" in first_screen
    assert line in layout
    for needed in ("make demo", "make test", "non-commercial", "It is for"):
        assert needed in first_screen


@pytest.mark.parametrize("document", DOCUMENTS, ids=_name)
def test_the_encryption_is_not_praised_beyond_what_it_is(document: Path):
    text = document.read_text(encoding="utf-8").lower()
    for praise in ("zero-knowledge", "zero knowledge", "end-to-end", "military", "unbreakable"):
        assert praise not in text


def test_the_speed_in_the_readme_is_what_was_measured_last() -> None:
    assert with_table(README, latest_table()) == README


def test_the_model_figures_of_the_readme_are_those_of_the_bundle_in_service() -> None:
    manifest, _ = read_manifest(live_bundle())
    for row in headline(manifest.metrics):
        assert row in README
    assert f"Bundle {manifest.version}," in README
