"""What people wrote goes through every program, faults are provoked, and no log holds a word of it.

The real processes over a real broker: portal, keeper, worker, relay, reconciler, clock and metrics.
"""

import io
import json
import re
import socket
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
import redis
from PIL import Image
from sqlalchemy import text

from clinic.access import Role
from clinic.hints import INFERENCE_QUEUE
from clinic.json_log import case_reference
from clinic.records.models import Submission
from clinic.submission import CaseState
from tests.bundles import small_bundle
from tests.portal_tools import CASE, REGISTRATION
from tests.world import PHOTO
from tools import installation as setup
from tools.installation import DemoPerson, Installation
from tools.portal_client import PortalClient, PortalError
from tools.ports import free_port
from tools.running import Running, started
from tools.supervisor import Program

pytestmark = [pytest.mark.broker, pytest.mark.slow]

CANARIES = {
    "given name": "Canarygiven",
    "family name": "Canaryfamily",
    "e-mail": "canary.person@example.com",
    "password": "canary password of five words",
    "history text": "CANARY-IN-THE-NOTES",
    "site detail": "CANARY-ON-THE-SHOULDER",
    "token": "canary-token-of-a-link",
    "query": "CANARY-IN-THE-QUERY",
    "stored value": "CANARY-IN-A-ROW",
    "message": "CANARY-ON-THE-BROKER",
    "photo": "CANARY-IN-THE-PHOTO",
}
# Celery says this past every logger, to the terminal; it is always the same.
NOT_A_LOG_LINE = re.compile(
    r"|worker: \w+ shutdown \(MainProcess\)|\[[^]]+\] child process \d+ calling self\.run\(\)"
)


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    installation = Installation(tmp_path / "clinic", free_port(), free_port(), tmp_path / "weights")
    small_bundle(installation.weights)
    with started(installation) as found:
        others = {"beat": {}, "metrics": {"DERMQUEUE_METRICS_BIND": f"127.0.0.1:{free_port()}"}}
        for name, changed in others.items():
            found.supervisor.start(another(installation, name, changed))
        yield found
        installation.engine.dispose()


def another(installation: Installation, name: str, changed: dict[str, str]) -> Program:
    environment = {**installation.environment(), **changed}
    command = [sys.executable, "-m", "worker", name]
    return Program(name, command, environment, setup.ROOT, log_of(installation, name))


def log_of(installation: Installation, name: str) -> Path:
    return installation.folder / "logs" / f"{name}.log"


def until(done: Callable[[], bool], running: Running) -> None:
    give_up_at = time.monotonic() + 90
    while not done():
        running.supervisor.watch()
        assert time.monotonic() < give_up_at
        time.sleep(0.1)


def marked_photo() -> bytes:
    out, exif = io.BytesIO(), Image.Exif()
    exif[0x010E] = CANARIES["photo"]
    with Image.open(io.BytesIO(PHOTO)) as image:
        image.save(out, "JPEG", exif=exif)
    return out.getvalue() + CANARIES["photo"].encode()


def register(patient: PortalClient, email: str) -> None:
    form = {
        **REGISTRATION,
        "email": email,
        "password": CANARIES["password"],
        "given_name": CANARIES["given name"],
        "family_name": CANARIES["family name"],
    }
    patient.post("/register", form, page=patient.get("/register"))


def send(patient: PortalClient, photo: bytes) -> str:
    answers = {
        **CASE,
        "notes": CANARIES["history text"],
        "site_detail": CANARIES["site detail"],
    }
    return patient.send_case(answers, {"close_up": photo})


def state_of(running: Running, case: str) -> str:
    with running.installation.sessions()() as session:
        return session.get_one(Submission, case).case_state


def read_a_case(running: Running, case: str) -> None:
    person: DemoPerson = running.people[Role.DERMATOLOGIST]
    reader = PortalClient(running.installation.base_url)
    reader.sign_in(person.email, person.password)
    reader.prove_second_factor(person.totp_secret or "")
    reader.post(f"/review/{case}/claim", {}, page=reader.get("/review"))
    assert CANARIES["history text"] in reader.get(f"/review/{case}")
    reader.close()


def provoke(running: Running, patient: PortalClient, case: str) -> None:
    """Every kind of fault that could quote what it met."""
    url = running.installation.base_url
    wrong = {"email": CANARIES["e-mail"], "password": f"{CANARIES['password']}!"}
    nobody = PortalClient(url)
    with pytest.raises(PortalError):
        nobody.post("/sign-in", wrong, page=nobody.get("/sign-in"))
    nobody.close()
    for path in (
        f"/sign-in-link/{CANARIES['token']}",
        f"/fhir/R4/Patient?identifier={CANARIES['query']}",
        f"/{CANARIES['query']}",
    ):
        httpx.get(url + path, headers={"Authorization": f"Bearer {CANARIES['token']}"})
    raw = f"GET /{CANARIES['query']} HTTP/9.9 {CANARIES['token']}\r\n: x\r\n\r\n".encode()
    with socket.create_connection(("127.0.0.1", running.installation.port)) as connection:
        connection.sendall(raw)
        connection.recv(100)
    with running.installation.engine.begin() as connection:
        values = {"value": CANARIES["stored value"], "case": case}
        statement = "UPDATE submission SET body_site = :value WHERE id = :case"
        connection.execute(text(statement), values)
    with pytest.raises(PortalError, match="Something went wrong"):
        patient.get("/cases")
    with running.installation.engine.begin() as connection:
        connection.execute(text("ALTER TABLE consent RENAME TO consent_elsewhere"))
    other = PortalClient(url)
    with pytest.raises(PortalError):
        register(other, f"second.{CANARIES['e-mail']}")
    other.close()
    with running.installation.engine.begin() as connection:
        connection.execute(text("ALTER TABLE consent_elsewhere RENAME TO consent"))
    with redis.Redis(port=running.installation.broker_port) as broker:
        message = {"body": CANARIES["message"], "headers": {"task": CANARIES["message"]}}
        broker.lpush(INFERENCE_QUEUE, json.dumps(message), CANARIES["message"].encode())


def test_no_log_of_any_program_holds_a_word_of_what_people_wrote(running: Running) -> None:
    patient = PortalClient(running.installation.base_url)
    register(patient, CANARIES["e-mail"])
    good = send(patient, marked_photo())
    bad = send(patient, CANARIES["photo"].encode() * 50)
    until(lambda: state_of(running, good) == CaseState.AWAITING_REVIEW, running)
    until(lambda: state_of(running, bad) == CaseState.UNREADABLE, running)
    read_a_case(running, good)

    provoke(running, patient, good)
    until(lambda: b"error" in log_of(running.installation, "worker").read_bytes(), running)
    running.supervisor.stop()
    patient.close()

    logs = {
        path.name: path.read_text() for path in log_of(running.installation, "").parent.iterdir()
    }
    secrets = {**CANARIES, **secrets_of(running), "case": good, "other case": bad}
    found = [
        (name, kind)
        for name, words in logs.items()
        for kind, secret in secrets.items()
        if secret.lower() in words.lower()
    ]
    assert found == []
    assert_lines(logs)
    web = [json.loads(line) for line in logs["web.log"].splitlines()]
    statuses = {line.get("status") for line in web}
    assert {200, 202, 404, 500, 503} <= statuses
    assert any(line.get("case") == case_reference(good) for line in web)
    assert any(line.get("error", {}).get("type") == "ValueError" for line in web)


def secrets_of(running: Running) -> dict[str, str]:
    people = {}
    for role, person in running.people.items():
        people |= {f"{role} password": person.password, f"{role} e-mail": person.email}
        if person.totp_secret:
            people[f"{role} second factor"] = person.totp_secret
    return {**people, "record system's token": running.ehr_token}


def assert_lines(logs: dict[str, str]) -> None:
    programs = set(logs) - {"broker.log"}
    assert programs == {
        f"{name}.log"
        for name in ("web", "worker", "keeper", "relay", "reconciler", "beat", "metrics")
    }
    for name in programs:
        for line in logs[name].splitlines():
            if not NOT_A_LOG_LINE.fullmatch(line):
                assert {"at", "level", "program", "message"} <= set(json.loads(line)), (name, line)
