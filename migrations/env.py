"""Alembic's environment: the tables are clinic.records.models, the address is a setting."""

from typing import Any

from alembic import context
from sqlalchemy import Connection

from clinic.records.database_rights import let_programs_in
from clinic.records.db import UtcDateTime, make_engine
from clinic.records.models import Base
from config import MIGRATE, Settings, needed


def render_item(kind: str, item: Any, _: Any) -> str | bool:
    """Migrations name plain types: they must still run when the code has moved on."""
    if kind == "type" and isinstance(item, UtcDateTime):
        return "sa.DateTime(timezone=True)"
    return False


def run(connection: Connection) -> None:
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        render_as_batch=connection.dialect.name == "sqlite",
        compare_type=True,
        render_item=render_item,
    )
    with context.begin_transaction():
        context.run_migrations()


given = context.config.attributes.get("connection")
if given is not None:
    run(given)
else:
    settings = Settings.from_env(MIGRATE)
    engine = make_engine(needed(settings.database_url))
    with engine.connect() as own:
        run(own)
        if settings.programs_url is not None:
            let_programs_in(own, settings.programs_url)
        own.commit()
    engine.dispose()
