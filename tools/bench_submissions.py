"""Submissions that the portal accepts: a photo of three megabytes each, from fifty at once.

Every photo is sealed as a browser seals it, before the clock starts. Portal, PostgreSQL (which
syncs every commit) and the load share this machine. The view that does nothing is served by the
same web server with the same settings, and takes turns with the portal.
"""

import io
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import httpx
from flask import Flask

from clinic.access import Role
from clinic.consent import FOR_CARE, ConsentDecision, Purpose
from clinic.envelope import Context, PublicKey, seal
from clinic.keeper_protocol import ObjectKind
from clinic.records import accounts, clinics, consents, keys
from clinic.records.accounts import NewAccount
from clinic.records.db import new_id
from config import WEB, Settings
from tools import installation as setup
from tools.bench_load import HOST, Load, Message, send_at_once
from tools.bench_result import Outcome, Ratio
from tools.demo import HISTORY
from tools.installation import DEMO_BIRTH_DATE, ROOT, Installation
from tools.lesion_drawing import draw_lesion
from tools.portal_client import csrf_token
from tools.ports import free_port
from tools.postgres import PostgresServer
from tools.supervisor import Program, Supervisor
from tools.waiting import await_answer
from web.app import create_app

PATIENTS: Final = 50
CASES_EACH: Final = 3  # in a round: within the limit of 20 uploads a minute in all rounds together
ROUNDS: Final = 5
PHOTO_SIZE: Final = (4000, 3000)
PHOTO_QUALITY: Final = 93  # about 3 MB, as a phone's camera writes it
NOTHING: Final = "/nothing"


@dataclass(frozen=True)
class Patient:
    """A signed-in browser: its cookie, and the token that its forms carry."""

    cookie: str
    csrf: str


def run(*, rounds: int = ROUNDS, patients: int = PATIENTS, cases_each: int = CASES_EACH) -> Outcome:
    photo = phone_photo()
    accepted, drained, empty = [], [], []
    with _installation() as installation, _served(installation) as nothing_port:
        people = _patients(installation, patients)
        recipient = _recipient(installation)
        for _ in range(rounds):
            lists = [
                [_submission(one, photo, recipient) for _ in range(cases_each)] for one in people
            ]
            accepted.append(send_at_once(installation.port, lists))
            drained.append(send_at_once(nothing_port, _to_nothing(lists)))
            empty.append(send_at_once(nothing_port, _without_bodies(lists)))
    return _outcome(photo, accepted, drained, empty)


def phone_photo() -> bytes:
    out = io.BytesIO()
    draw_lesion(5, PHOTO_SIZE).save(out, "JPEG", quality=PHOTO_QUALITY)
    return out.getvalue()


@contextmanager
def _installation() -> Iterator[Installation]:
    with (
        PostgresServer.started(fsync=True) as server,
        tempfile.TemporaryDirectory() as folder,
    ):
        database = server.fresh_database()
        weights = ROOT / "ml" / "weights"
        installation = Installation(Path(folder), free_port(), free_port(), weights, database)
        setup.prepare(installation)
        try:
            yield installation
        finally:
            installation.engine.dispose()


@contextmanager
def _served(installation: Installation) -> Iterator[int]:
    """Broker, portal and the view that does nothing, whose port is given."""
    port = free_port()
    command = setup.serving("tools.bench_nothing:app", port=port)
    environment, log = installation.environment(), installation.folder / "logs" / "nothing.log"
    supervisor = Supervisor()
    try:
        for program in setup.programs(installation):
            if program.name in {"broker", "web"}:
                supervisor.start(program)
        supervisor.start(Program("nothing", command, environment, ROOT, log))
        await_answer(f"{installation.base_url}/healthz")
        await_answer(f"http://{HOST}:{port}{NOTHING}")
        yield port
    finally:
        supervisor.stop()


def _patients(installation: Installation, count: int) -> list[Patient]:
    """Signed in through the database: what is measured is not how passwords are checked."""
    app = create_app(replace(Settings.from_env(WEB, installation.environment()), broker_url=None))
    return [_signed_in(app, token) for token in _logins(installation, count)]


def _logins(installation: Installation, count: int) -> list[str]:
    box = installation.account_secrets()
    purposes = [ConsentDecision(one, permitted=True) for one in (*FOR_CARE, Purpose.AI_ASSISTANCE)]
    tokens = []
    with installation.sessions()() as session, session.begin():
        clinic = clinics.chosen(session, None)
        for number in range(count):
            new = NewAccount(clinic.id, Role.PATIENT, f"bench-{number}@demo.invalid", "no password")
            account = accounts.create_account(session, box, new)
            account.birth_date_sealed = box.seal(
                DEMO_BIRTH_DATE.isoformat(), account_id=account.id, column="birth_date"
            )
            patient = accounts.create_patient(session, account)
            consents.record(session, patient.id, purposes)
            tokens.append(accounts.start_login(session, account, second_factor=False))
    return tokens


def _signed_in(app: Flask, token: str) -> Patient:
    client = app.test_client()
    with client.session_transaction() as values:
        values["_user_id"] = token
    csrf = csrf_token(client.get("/cases/new").text)
    name = app.config["SESSION_COOKIE_NAME"]
    cookie = client.get_cookie(name)
    if cookie is None:
        raise LookupError("The portal gave no cookie.")
    return Patient(f"{name}={cookie.value}", csrf)


def _recipient(installation: Installation) -> PublicKey:
    with installation.sessions()() as session:
        return keys.sealing_recipient(session, installation.settings().root_public_key or b"")


def _submission(patient: Patient, photo: bytes, recipient: PublicKey) -> Message:
    submission_id = new_id()
    context = Context(submission=submission_id, slot=1, type=ObjectKind.PHOTO)
    sealed = seal(photo, context=context, recipients=[recipient]).to_bytes()
    form = httpx.Request(
        "POST",
        "http://portal/cases/new",
        data={**HISTORY, "submission_id": submission_id, "csrf_token": patient.csrf},
        files={"sealed_close_up": ("sealed", sealed, "application/octet-stream")},
    )
    headers = {
        "Content-Type": form.headers["Content-Type"],
        "Cookie": patient.cookie,
        "Accept": "application/json",
    }
    return Message("POST", "/cases/new", 202, headers, form.read())


def _to_nothing(lists: Sequence[Sequence[Message]]) -> list[list[Message]]:
    return [[replace(message, path=NOTHING) for message in one] for one in lists]


def _without_bodies(lists: Sequence[Sequence[Message]]) -> list[list[Message]]:
    return [[Message("GET", NOTHING, 204) for _ in one] for one in lists]


def _outcome(
    photo: bytes, accepted: Sequence[Load], drained: Sequence[Load], empty: Sequence[Load]
) -> Outcome:
    return Outcome(
        "submissions",
        {
            "concurrent_patients": PATIENTS,
            "photo_megabytes": round(len(photo) / 1e6, 1),
            "accepted": _figures(accepted),
            "nothing_with_the_body": _figures(drained),
            "nothing_without_a_body": _figures(empty),
        },
        (
            Ratio(
                "submissions: accepted, to a view that takes the same body and does nothing",
                "higher",
                _rates(accepted, drained),
            ),
            Ratio(
                "submissions: accepted, to a view that does nothing",
                "higher",
                _rates(accepted, empty),
            ),
        ),
    )


def _rates(upper: Sequence[Load], lower: Sequence[Load]) -> tuple[float, ...]:
    return tuple(one.rate / other.rate for one, other in zip(upper, lower, strict=True))


def _figures(loads: Sequence[Load]) -> dict[str, float]:
    every = Load(
        tuple(seconds for one in loads for seconds in one.seconds), sum(one.whole for one in loads)
    )
    return {
        "per_second": round(every.rate, 1),
        "p50_ms": every.milliseconds(0.50),
        "p95_ms": every.milliseconds(0.95),
        "p99_ms": every.milliseconds(0.99),
    }
