"""The portal's tests run on SQLite, the quicker database; what depends on it asks for both.

@both_databases
def test_...
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask
from jinja2.bccache import Bucket, BytecodeCache


@pytest.fixture
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database: SQLite, or what `both_databases` of portal_tools asks for."""
    if getattr(request, "param", "sqlite") == "sqlite":
        return f"sqlite:///{tmp_path / 'records.db'}"
    fresh: str = request.getfixturevalue("postgres").fresh_database()
    return fresh


class CompiledTemplates(BytecodeCache):
    """Every test makes a portal of its own; its templates are compiled once for all of them."""

    def __init__(self) -> None:
        self.compiled: dict[str, bytes] = {}

    def load_bytecode(self, bucket: Bucket) -> None:
        if bucket.key in self.compiled:
            bucket.bytecode_from_string(self.compiled[bucket.key])

    def dump_bytecode(self, bucket: Bucket) -> None:
        self.compiled[bucket.key] = bucket.bytecode_to_string()


@pytest.fixture(scope="session", autouse=True)
def compiled_templates() -> Iterator[None]:
    Flask.jinja_options["bytecode_cache"] = CompiledTemplates()
    yield
    del Flask.jinja_options["bytecode_cache"]
