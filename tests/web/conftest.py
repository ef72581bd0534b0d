"""The portal's tests run on SQLite, the quicker database; what depends on it asks for both.

@both_databases
def test_...
"""

from pathlib import Path

import pytest


@pytest.fixture
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database: SQLite, or what `both_databases` of portal_tools asks for."""
    if getattr(request, "param", "sqlite") == "sqlite":
        return f"sqlite:///{tmp_path / 'records.db'}"
    fresh: str = request.getfixturevalue("postgres").fresh_database()
    return fresh
