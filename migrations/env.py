"""Alembic's environment: the tables are clinic.records.models, the address is a setting."""

from alembic import context
from sqlalchemy import Connection

from clinic.records.db import make_engine
from clinic.records.models import Base
from config import ADMIN, Settings


def run(connection: Connection) -> None:
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        render_as_batch=connection.dialect.name == "sqlite",
        compare_type=True,
    )
    with context.begin_transaction():
        context.run_migrations()


given = context.config.attributes.get("connection")
if given is not None:
    run(given)
else:
    engine = make_engine(Settings.from_env(ADMIN).database_url)
    with engine.connect() as own:
        run(own)
        own.commit()
    engine.dispose()
