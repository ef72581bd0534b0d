"""Rules of the house that no single module can keep: imports, routes, tasks, settings, words."""

import ast
import importlib
import pkgutil
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import celery
import pytest
from flask import Blueprint, Flask

import web
from clinic.audit_event import AuditAction
from clinic.hints import QUEUE_OF
from clinic.terminology import LESION_CLASSES, MANAGEMENT_PLANS
from config import SETTINGS, Settings
from ml.labels import CLASSES
from tests.sources import PRODUCTION, ROOT, calls, modules, names_of, syntax_of
from web.permission import mark_of
from web.portal.desk_forms import PLANS
from web.portal.forms import DIAGNOSIS_GROUPS

FACTORIES = (
    "web/app.py",
    "web/wsgi.py",
    "worker/__main__.py",
    "worker/programs/",
)
ENVIRONMENT_READERS = ("config.py", "tools/", "bin/")


def test_imports_keep_to_their_direction() -> None:
    command = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    found = subprocess.run(
        [sys.executable, "-c", command], cwd=ROOT, capture_output=True, text=True, check=False
    )

    assert found.returncode == 0, found.stdout
    assert "0 broken" in found.stdout


def test_the_packages_themselves_import_nothing() -> None:
    for package in ("clinic", "clinic/records", "ml", "web", "worker", "tools"):
        tree = syntax_of(ROOT / package / "__init__.py")
        assert not [
            node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)
        ]


@pytest.mark.parametrize(
    "module", ["web.app", "worker.relay", "worker.reconciler", "worker.keeper_tasks", "ml.triage"]
)
def test_a_process_that_needs_no_torch_never_loads_it(module: str) -> None:
    command = f"import sys, {module}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", command], cwd=ROOT, check=False).returncode == 0


def test_the_settings_are_read_by_the_factories_alone() -> None:
    readers = [
        path
        for path in modules("web", "worker", "clinic", "ml")
        if "config" in {name.partition(".")[0] for name in _imported(path)}
    ]
    assert readers
    for path in readers:
        assert path.relative_to(ROOT).as_posix().startswith(FACTORIES)


def test_the_environment_is_read_in_one_place() -> None:
    for path in modules(*PRODUCTION):
        words = names_of(path)
        if words & {"environ", "getenv"}:
            assert path.relative_to(ROOT).as_posix().startswith(ENVIRONMENT_READERS)


def test_every_view_carries_a_permission_mark(app: Flask) -> None:
    unmarked = [
        name
        for name, view in app.view_functions.items()
        if name != "static" and mark_of(view) is None
    ]
    assert unmarked == []
    assert len(app.view_functions) > 30


def test_every_blueprint_is_registered(app: Flask) -> None:
    found = {
        value.name
        for info in pkgutil.walk_packages(web.__path__, "web.")
        if info.name != "web.wsgi"
        for value in vars(importlib.import_module(info.name)).values()
        if isinstance(value, Blueprint)
    }
    assert found
    assert found <= set(app.blueprints)


def test_every_view_module_of_the_portal_is_imported_by_it() -> None:
    imported = _imported(ROOT / "web/portal/__init__.py")
    with_routes = [
        path.stem
        for path in (ROOT / "web/portal").glob("*.py")
        if re.search(r"^@portal\.", path.read_text(encoding="utf-8"), re.MULTILINE)
    ]
    assert with_routes
    for name in with_routes:
        assert f"web.portal.{name}" in imported


def test_every_task_is_limited_in_time_and_named_as_one() -> None:
    tasks = [task for path in modules("worker") for task in _tasks(path)]

    assert len(tasks) == len(QUEUE_OF)
    for name, options in tasks:
        assert name.endswith("_task")
        assert {"soft_time_limit", "time_limit"} <= set(options), name


def test_every_task_is_found_under_the_name_of_its_hint() -> None:
    for module in ("worker.tasks", "worker.keeper_tasks"):
        importlib.import_module(module)
    registered = {name for name in celery.current_app.tasks if name.startswith("worker.")}

    assert registered == set(QUEUE_OF)
    for name in registered:
        module, _, function = name.rpartition(".")
        task = getattr(importlib.import_module(module), function)
        assert task.name == name
        assert 0 < task.soft_time_limit < task.time_limit


def test_every_setting_is_declared_once_and_explained() -> None:
    example = (ROOT / ".env.example").read_text(encoding="utf-8")

    assert [one.field for one in SETTINGS] == [one.name for one in fields(Settings)]
    for one in SETTINGS:
        line = re.search(rf"^#? ?{one.name}(_FILE)?=", example, re.MULTILINE)
        assert line is not None, f"{one.name} is not in .env.example"
        before = example[: line.start()].rstrip("\n").splitlines()
        assert before[-1].startswith("#"), f"{one.name} has no sentence above it"


def test_the_example_names_no_setting_that_does_not_exist() -> None:
    example = (ROOT / ".env.example").read_text(encoding="utf-8")
    known = {one.name for one in SETTINGS}
    known |= set(
        re.findall(r"\$\{(\w+)", (ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
    )
    for name in re.findall(r"^#? ?(DERMQUEUE_[A-Z0-9_]+)=", example, re.MULTILINE):
        assert name in known or name.removesuffix("_FILE") in known


def test_no_fault_is_swallowed() -> None:
    for path in modules(*PRODUCTION):
        for node in ast.walk(syntax_of(path)):
            if not isinstance(node, ast.ExceptHandler):
                continue
            everything = node.type is None or _is_broad(node.type)
            raises = any(isinstance(inner, ast.Raise) for inner in ast.walk(node))
            assert not everything or raises, f"{path}:{node.lineno} swallows every fault"
            passes = all(isinstance(inner, ast.Pass) for inner in node.body)
            assert not passes, f"{path}:{node.lineno} says nothing of what happened"


def test_every_audit_action_is_written_somewhere() -> None:
    written = {
        name
        for path in modules("web", "worker", "clinic", "tools")
        for name in _written_actions(syntax_of(path))
    }
    assert written == {action.name for action in AuditAction}


def test_people_and_the_computer_speak_of_the_same_diagnoses() -> None:
    offered = {code for code, _ in DIAGNOSIS_GROUPS}
    assert offered - {"other"} == set(CLASSES) == set(LESION_CLASSES)
    assert {code for code, _ in PLANS} == set(MANAGEMENT_PLANS)


def test_no_mock_stands_in_production() -> None:
    for path in modules(*PRODUCTION):
        imported = _imported(path)
        assert not [name for name in imported if "mock" in name or name.startswith("tests")], path


def _imported(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(syntax_of(path)):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
    return found


def _written_actions(tree: ast.AST) -> Iterator[str]:
    """Actions that the code names, but for those that a table only gives words to."""
    tables = [node for node in ast.walk(tree) if isinstance(node, ast.Dict)]
    labels = {id(key) for table in tables for key in table.keys}
    for node in ast.walk(tree):
        named = isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
        if named and node.value.id == "AuditAction" and id(node) not in labels:
            yield node.attr


def _tasks(path: Path) -> Iterator[tuple[str, dict[str, ast.expr]]]:
    for node in ast.walk(syntax_of(path)):
        if not isinstance(node, ast.FunctionDef):
            continue
        for decorator in node.decorator_list:
            if isinstance(decorator, ast.Call) and calls(decorator) in {"shared_task", "task"}:
                yield node.name, {one.arg or "": one.value for one in decorator.keywords}


def _is_broad(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id in {"Exception", "BaseException"}
