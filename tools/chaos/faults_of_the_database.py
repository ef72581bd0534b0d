"""Faults of the database: locked by somebody else, or not there at all."""

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import httpx

from tools.chaos.fault import Fault
from tools.chaos.scene import NotSurvived, Scene
from tools.chaos.stacks import Database

AWAY_SECONDS = 30.0  # longer than SQLite's programs wait for a lock


def lock_sqlite(scene: Scene) -> None:
    """BEGIN EXCLUSIVE by another program, held while a patient sends a form."""
    path = scene.installation.folder / "dermqueue.db"
    with closing(sqlite3.connect(path, timeout=20.0, isolation_level=None)) as other:
        patient, form = scene.form()
        other.execute("BEGIN EXCLUSIVE")
        with ThreadPoolExecutor(1) as pool:
            sending = pool.submit(scene.try_to_send, patient, form)
            scene.pause(scene.lasting(AWAY_SECONDS, short=4.0))
            other.execute("ROLLBACK")
    sent = sending.result()
    taken = sent.status == httpx.codes.ACCEPTED
    scene.must(taken or _said_later(sent.status, sent.retry_after), f"A form got {sent}.")


def stop_postgres(scene: Scene) -> None:
    """The server ends in the middle of everything, and comes back."""
    server = scene.server
    if server is None:
        raise NotSurvived("This stack has no database server to stop.")
    patient, form = scene.form()
    server.stop()
    try:
        sent = scene.try_to_send(patient, form)
        scene.pause(scene.lasting(AWAY_SECONDS, short=4.0))
    finally:
        server.start()
    scene.must(_said_later(sent.status, sent.retry_after), f"A form got {sent}.")


def _said_later(status: int | None, retry_after: str | None) -> bool:
    """Whether the answer was 503 with a time to try again."""
    return status == httpx.codes.SERVICE_UNAVAILABLE and retry_after is not None


FAULTS = (
    Fault(
        14,
        "database locked",
        "503 with Retry-After or accepted late; no half state",
        lock_sqlite,
        database=Database.SQLITE,
    ),
    Fault(
        14,
        "database down",
        "503 with Retry-After; no half state",
        stop_postgres,
        database=Database.POSTGRES,
    ),
)
