"""Can a program reach what it needs? For container checks: `python -m worker.programs.health web`.

It answers for database, broker and settings. That the analysis worker lives is told by its own
row, which /readyz and the operations page read.
"""

import argparse
import sys
from collections.abc import Callable

import redis
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from clinic.records.db import make_engine
from config import EVERY_PROGRAM, Settings, SettingsError

WAIT_SECONDS = 3
PROBE_SECONDS = 5


def problem(settings: Settings) -> str | None:
    """What cannot be reached, or None."""
    if settings.database_url is not None and not _database_answers(settings.database_url):
        return "The database does not answer."
    if settings.broker_url is not None and not broker_answers(settings.broker_url):
        return "The broker does not answer."
    return None


def _database_answers(url: str) -> bool:
    engine = make_engine(url)
    try:
        with engine.connect() as connection:
            connection.execute(text("SELECT 1"))
    except OperationalError:
        return False
    finally:
        engine.dispose()
    return True


def broker_answers(url: str) -> bool:
    return _broker_does(url, redis.Redis.ping)


def broker_takes_hints(url: str, queue: str) -> bool:
    """Whether somebody could send a hint to `queue`: a broker that is full answers no less."""
    return _broker_does(url, lambda broker: broker.set(f"{queue}.probe", "", ex=PROBE_SECONDS))


def _broker_does(url: str, question: Callable[[redis.Redis], object]) -> bool:
    try:
        with redis.Redis.from_url(
            url, socket_connect_timeout=WAIT_SECONDS, socket_timeout=WAIT_SECONDS
        ) as connection:
            return bool(question(connection))
    except redis.RedisError:
        return False


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m worker.programs.health", description=__doc__)
    parser.add_argument("program", choices=sorted(EVERY_PROGRAM))
    try:
        found = problem(Settings.from_env(parser.parse_args().program))
    except SettingsError as error:
        found = str(error)
    if found is not None:
        sys.stderr.write(f"{found}\n")
    return 0 if found is None else 1


if __name__ == "__main__":
    sys.exit(main())
