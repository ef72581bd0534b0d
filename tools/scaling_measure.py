"""What a plan for many machines needs to know of one: `python -m tools.scaling_measure`.

Prints one JSON object for `python -m tools.scaling_plan`: a worker's rate with photos of a phone's
size, the bytes of a case in the database and in the photo store, the rate of the audit chain.
"""

import json
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, func, select, text

from clinic.access import Role
from clinic.audit_event import AuditAction
from clinic.records.audit_log import Auditor
from clinic.records.db import every_clinic_sessions, make_engine
from clinic.records.models import AuditEntry, Base, SealedObject
from tools import bench_screening
from tools.demo import read_and_sign
from tools.installation import ROOT, Installation
from tools.lesion_drawing import draw_lesion
from tools.portal_client import PortalClient
from tools.ports import free_port
from tools.postgres import PostgresServer
from tools.running import Running, started
from tools.sealed_cases import CaseSender, as_jpeg

PHONE, PHONE_QUALITY = (4000, 3000), 93
CASES, COPIES = 8, 500
WRITERS, WRITING_SECONDS = (1, 4, 16), 4.0
IN_ONE_TRANSACTION = 10
# A case's rows and which of their columns hold an id that each copy needs anew.
ROWS_OF_CASE = {
    "submission": ("id",),
    "sealed_object": ("id", "submission_id"),
    "screening_result": ("submission_id",),
    "first_read": ("submission_id",),
    "signed_report": ("id", "submission_id", "finding_object_id", "letter_object_id"),
    "audit_entry": ("submission_id",),
}


def main() -> int:
    found = {
        "worker_seconds_each": round(1 / bench_screening.run(1)["photos_per_second"], 3),
        **cases(),
        "audit_appends_per_second": audit_appends(),
    }
    print(json.dumps(found, indent=2))
    return 0


def cases() -> dict[str, Any]:
    """Send, analyse and sign real cases; then measure the tables with many copies of them."""
    photo = as_jpeg(draw_lesion(5, PHONE), quality=PHONE_QUALITY)
    with PostgresServer.started() as server, tempfile.TemporaryDirectory() as folder:
        weights = ROOT / "ml" / "weights"
        installation = Installation(
            Path(folder), free_port(), free_port(), weights, server.fresh_database()
        )
        with started(installation) as running:
            sender = CaseSender.of(installation, photo)
            running.await_result(sender.send())
            _sign_cases(running, sender)
        found = _sizes(installation)
        installation.engine.dispose()
    return found


def _sign_cases(running: Running, sender: CaseSender) -> None:
    ids = [sender.send() for _ in range(CASES)]
    results = [running.await_result(one) for one in ids]
    person = running.people[Role.DERMATOLOGIST]
    desk = PortalClient(running.installation.base_url)
    desk.sign_in(person.email, person.password)
    queue = desk.prove_second_factor(person.totp_secret or "")
    for one, result in zip(ids, results, strict=True):
        read_and_sign(desk, queue, one, result)
    desk.close()


def _sizes(installation: Installation) -> dict[str, Any]:
    """Bytes of a signed case, by table (with its indexes) and by kind of sealed body."""
    with installation.sessions()() as session:
        of_kind = select(SealedObject.kind, func.avg(SealedObject.body_size))
        of_kind = of_kind.where(SealedObject.body.is_(None)).group_by(SealedObject.kind)
        bodies = {kind: round(size) for kind, size in session.execute(of_kind)}
        entries = session.scalar(select(func.count()).where(AuditEntry.submission_id.is_not(None)))
    with installation.engine.begin() as connection:
        before = _table_sizes(connection)
        for table, ids in ROWS_OF_CASE.items():
            _copy(connection, table, ids)
        after = _table_sizes(connection)
    copied = COPIES * (CASES + 1)
    return {
        "audit_entries_of_case": round((entries or 0) / (CASES + 1), 1),
        "store_bytes_of_case": bodies,
        "database_bytes_of_case": {
            table: round((after[table] - before[table]) / copied) for table in ROWS_OF_CASE
        },
    }


def _table_sizes(connection: Connection) -> dict[str, int]:
    query = text("SELECT pg_total_relation_size(to_regclass(:table))")
    return {table: connection.scalar(query, {"table": table}) or 0 for table in ROWS_OF_CASE}


def _copy(connection: Connection, table: str, ids: tuple[str, ...]) -> None:
    """Copy every row of a case, each time under new ids; what names the same thing goes along."""
    columns = [one.name for one in Base.metadata.tables[table].columns]
    values = {one: f"md5({one} || n)" if one in ids else one for one in columns}
    if table == "audit_entry":
        values["sequence"] = "sequence + n * 1000000"
    picked = ", ".join(values[one] for one in columns)
    case = "id" if table == "submission" else "submission_id"
    connection.execute(
        text(
            f"INSERT INTO {table} ({', '.join(columns)}) SELECT {picked} FROM {table},"  # noqa: S608 # nosec B608
            f" generate_series(1, :copies) AS n WHERE {case} IS NOT NULL"
        ),
        {"copies": COPIES},
    )


def audit_appends() -> dict[str, float]:
    """Entries a second on PostgreSQL that waits for the disk, by writers at the same time."""
    with PostgresServer.started(fsync=True) as server:
        engine = make_engine(server.fresh_database())
        Base.metadata.create_all(engine)
        auditor, sessions = Auditor(b"a" * 32), every_clinic_sessions(engine)

        def append(entries: int, stopped: threading.Event) -> int:
            done = 0
            while not stopped.is_set():
                with sessions() as session, session.begin():
                    for _ in range(entries):
                        auditor.record(session, AuditAction.SUBMISSION_RECEIVED, "bench")
                done += entries
            return done

        def rate(writers: int, entries: int) -> float:
            stopped = threading.Event()
            with ThreadPoolExecutor(writers) as pool:
                start = time.perf_counter()
                running = [pool.submit(append, entries, stopped) for _ in range(writers)]
                time.sleep(WRITING_SECONDS)
                stopped.set()
                done = sum(one.result() for one in running)
                return round(done / (time.perf_counter() - start), 1)

        found = {f"{writers} writers": rate(writers, 1) for writers in WRITERS}
        found[f"{IN_ONE_TRANSACTION} entries in one transaction"] = rate(1, IN_ONE_TRANSACTION)
        engine.dispose()
    return found


if __name__ == "__main__":
    sys.exit(main())
