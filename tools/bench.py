"""`make bench`: one JSON line for each benchmark; ratios are measured within one run.

Figures depend on the machine, ratios much less; README quotes only what this program printed.
"""

import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
from sqlalchemy import insert

from clinic.access import Role
from clinic.account_secrets import Passwords
from clinic.keeper_protocol import ObjectKind
from clinic.records import accounts, keys, sealed_objects
from clinic.records.db import database_now, new_id
from clinic.records.models import Account, ScreeningResult, Submission
from clinic.records.sealed_objects import Place
from clinic.submission import CaseState, ScreeningState
from config import WEB, Settings
from tools import bench_analysis
from tools import installation as setup
from tools.demo import HISTORY
from tools.installation import ROOT, Installation
from tools.lesion_drawing import draw_lesion
from tools.portal_client import PortalClient
from tools.ports import free_port
from tools.postgres import PostgresServer
from tools.supervisor import Supervisor
from web.app import create_app
from web.portal.texts import Identity, write_identity

PATIENTS = 16
CASES_EACH = 8
RUNS = 3
PHOTO_SIDE = (1600, 1200)
SMALL_QUEUE, LARGE_QUEUE = 100, 10_000
PAGE_LOADS = 15
PASSWORD = "correct horse battery staple"  # noqa: S105 - of people who live for one benchmark


def main() -> int:
    for bench in (bench_analysis.run, submissions_accepted, review_queue_page):
        sys.stdout.write(json.dumps(bench()) + "\n")
        sys.stdout.flush()
    return 0


@contextmanager
def _on_postgres() -> Iterator[Installation]:
    with PostgresServer.started() as server, tempfile.TemporaryDirectory() as folder:
        installation = Installation(
            Path(folder), free_port(), free_port(), ROOT / "ml" / "weights", server.fresh_database()
        )
        setup.prepare(installation)
        yield installation


def submissions_accepted() -> dict[str, Any]:
    """Sealed submissions that the web tier takes in each second, beside an empty answer's rate."""
    photo = _photo()
    with _on_postgres() as installation, _portal_only(installation):
        emails = _patients(installation)
        clients = [_signed_in(installation, email) for email in emails]
        accepted = _median_rate(lambda: _send_all(clients, photo), PATIENTS * CASES_EACH // 2)
        empty = _median_rate(lambda: _ask_all(installation), PATIENTS * CASES_EACH)
    return {
        "benchmark": "submissions accepted by the web tier (PostgreSQL, 1 web process)",
        "submissions_per_second": round(accepted, 1),
        "empty_answers_per_second": round(empty, 1),
        "ratio_to_empty_answer": round(accepted / empty, 3),
        "photo_kilobytes": len(photo) // 1024,
        "concurrent_patients": PATIENTS,
    }


def review_queue_page() -> dict[str, Any]:
    """The first page of the review queue at 10,000 open cases, beside the same at 100."""
    with _on_postgres() as installation:
        small = _queue_page_seconds(installation, SMALL_QUEUE)
        large = _queue_page_seconds(installation, LARGE_QUEUE)
    return {
        "benchmark": "review queue page (PostgreSQL)",
        "open_cases": LARGE_QUEUE,
        "milliseconds": round(1000 * large, 1),
        f"milliseconds_at_{SMALL_QUEUE}": round(1000 * small, 1),
        "ratio": round(large / small, 2),
    }


def _photo() -> bytes:
    with tempfile.SpooledTemporaryFile() as file:
        draw_lesion(5, PHOTO_SIDE).save(file, "JPEG", quality=95)
        file.seek(0)
        return file.read()


@contextmanager
def _portal_only(installation: Installation) -> Iterator[None]:
    """Broker and portal: whether a worker runs does not matter to accepting a submission."""
    supervisor = Supervisor()
    try:
        for program in setup.programs(installation):
            if program.name in {"broker", "web"}:
                supervisor.start(program)
        _await(f"{installation.base_url}/healthz")
        yield
    finally:
        supervisor.stop()


def _await(url: str) -> None:
    for _ in range(300):
        try:
            httpx.get(url, timeout=2, trust_env=False)
        except httpx.TransportError:
            time.sleep(0.1)
        else:
            return
    raise TimeoutError(url)


def _patients(installation: Installation) -> list[str]:
    box, root = installation.account_secrets(), installation.settings().root_public_key or b""
    hashed = Passwords.standard().hash(PASSWORD)
    emails = [f"bench-{number}@demo.invalid" for number in range(PATIENTS)]
    with installation.sessions()() as session, session.begin():
        clinic = accounts.the_clinic(session)
        recipient = keys.sealing_recipient(session, root)
        for email in emails:
            new = accounts.NewAccount(clinic.id, Role.PATIENT, email, hashed)
            account = accounts.create_account(session, box, new)
            account.birth_date_sealed = box.seal(
                "1980-01-01", account_id=account.id, column="birth_date"
            )
            patient = accounts.create_patient(session, account)
            purposes = dict.fromkeys(("care", "teledermatology", "ai_assistance"), True)
            accounts.record_consents(session, patient, purposes)
            place = Place(patient.id, None, ObjectKind.IDENTITY)
            identity = write_identity(Identity("Bench", "A", setup.DEMO_BIRTH_DATE))
            sealed_objects.add_text(
                session, installation.blobs(), place, identity, recipient=recipient
            )
    return emails


def _signed_in(installation: Installation, email: str) -> PortalClient:
    client = PortalClient(installation.base_url)
    client.sign_in(email, PASSWORD)
    return client


def _send_all(clients: list[PortalClient], photo: bytes) -> None:
    """Half as many cases as the hourly limit allows in three runs, from all patients at once."""

    def send(client: PortalClient) -> None:
        for _ in range(CASES_EACH // 2):
            client.send_case(HISTORY, {"close_up": photo})

    with ThreadPoolExecutor(len(clients)) as pool:
        list(pool.map(send, clients))


def _ask_all(installation: Installation) -> None:
    def ask(_: int) -> None:
        with httpx.Client(base_url=installation.base_url, trust_env=False) as client:
            for _ in range(CASES_EACH):
                client.get("/healthz")

    with ThreadPoolExecutor(PATIENTS) as pool:
        list(pool.map(ask, range(PATIENTS)))


def _median_rate(work: Callable[[], None], count: int) -> float:
    rates = []
    for _ in range(RUNS):
        start = time.perf_counter()
        work()
        rates.append(count / (time.perf_counter() - start))
    return statistics.median(rates)


def _queue_page_seconds(installation: Installation, open_cases: int) -> float:
    """Fill the queue up to `open_cases` and load its first page; the median of the loads."""
    reader = _fill_queue(installation, open_cases)
    app = create_app(Settings.from_env(WEB, installation.environment()))
    with installation.sessions()() as session, session.begin():
        account = session.get_one(Account, reader)
        token = accounts.start_login(session, account, second_factor=True)
    client = app.test_client()
    with client.session_transaction() as cookie:
        cookie["_user_id"] = token
    seconds = []
    for _ in range(PAGE_LOADS):
        start = time.perf_counter()
        page = client.get("/review")
        seconds.append(time.perf_counter() - start)
        if page.status_code != httpx.codes.OK:
            raise LookupError(f"the queue page answered {page.status_code}")
    return statistics.median(seconds)


def _fill_queue(installation: Installation, open_cases: int) -> str:
    people = {person.role: person for person in setup.prepare(installation)}
    box = installation.account_secrets()
    with installation.sessions()() as session, session.begin():
        patient_account = accounts.account_by_email(session, box, people[Role.PATIENT].email)
        reader = accounts.account_by_email(session, box, people[Role.DERMATOLOGIST].email)
        if patient_account is None or reader is None:
            raise LookupError("the installation's people are missing")
        patient = accounts.patient_of(session, patient_account.id)
        if patient is None:
            raise LookupError("the demo patient has no record")
        have = session.query(Submission).count()
        now = database_now(session)
        rows = [
            {
                "id": new_id(),
                "patient_id": patient.id,
                "clinic_id": patient.clinic_id,
                "body_site": "back",
                "body_side": "left",
                "ai_permitted": True,
                "received_at": now,
                "queued_at": now,
                "due_at": now + timedelta(minutes=number),
                "not_before": now,
                "case_state": CaseState.AWAITING_REVIEW,
                "screening_state": ScreeningState.DONE,
                "urgency": number % 3,
                "attempt": 1,
            }
            for number in range(open_cases - have)
        ]
        session.execute(insert(Submission), rows)
        session.execute(insert(ScreeningResult), [_result(row, now) for row in rows])
        return reader.id


def _result(row: dict[str, Any], now: Any) -> dict[str, Any]:
    return {
        "submission_id": row["id"],
        "ai_used": False,
        "quality_flags": [],
        "urgency": row["urgency"],
        "reasons": ["a reason"],
        "rule_reasons": ["a reason"],
        "stage_seconds": {},
        "finished_at": now,
    }


if __name__ == "__main__":
    sys.exit(main())
