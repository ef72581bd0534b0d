"""Faults of the record system that reads signed reports. It pulls; nothing is pushed to it."""

import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager

import httpx
from sqlalchemy import update

from clinic.one_time_link import digest
from clinic.records.db import database_now
from clinic.records.models import EhrClient, ScreeningResult
from tools import installation as setup
from tools.chaos import people
from tools.chaos.fault import Fault
from tools.chaos.scene import Scene, ending_of
from tools.demo import read_and_sign

HANGING = 10  # fewer than the portal has threads; more are the proxy's to hold off
DUPLICATES = 20
ENDED_SECONDS = 60.0
SLOWEST_SECONDS = 15.0


def vex_with_record_system(scene: Scene) -> None:
    """It hangs in the middle of answers, asks the same again and again, and loses its token."""
    case = scene.trial[0]
    scene.until(lambda: ending_of(scene.row(case)) is not None, ENDED_SECONDS, what="no case ended")
    _sign(scene, case)
    token = setup.register_ehr_client(scene.installation)
    first = _report(scene, case, token)
    scene.must(first.status_code == httpx.codes.OK, f"The report was answered {first.status_code}.")
    with _hanging_readers(scene, case, token):
        scene.submit(2)
        slowest = max(one.seconds for one in scene.sendings[-2:])
        scene.must(slowest < SLOWEST_SECONDS, f"A patient waited {slowest:.1f} s.")
        with ThreadPoolExecutor(DUPLICATES) as threads:
            again = list(threads.map(lambda _: _report(scene, case, token), range(DUPLICATES)))
    different = [one.status_code for one in again if one.content != first.content]
    scene.must(not different, f"The same report came in another version: {different}.")
    _revoke(scene, token)
    refused = _report(scene, case, token).status_code
    scene.must(refused == httpx.codes.UNAUTHORIZED, f"A revoked token was answered {refused}.")


def _sign(scene: Scene, case: str) -> None:
    desk = people.new_desk(scene.running)
    scene.guests.append(desk)
    with scene.sessions() as session:
        result = session.get_one(ScreeningResult, case)
    read_and_sign(desk, desk.get("/review"), case, result)


def _report(scene: Scene, case: str, token: str) -> httpx.Response:
    headers = {"Authorization": f"Bearer {token}", "Accept": "application/fhir+json"}
    url = f"{scene.installation.base_url}/fhir/R4/DiagnosticReport/{case}"
    return httpx.get(url, headers=headers, timeout=60, trust_env=False)


@contextmanager
def _hanging_readers(scene: Scene, case: str, token: str) -> Iterator[None]:
    """Half of them never finish their request, half take one byte of the answer and no more."""
    head = f"GET /fhir/R4/DiagnosticReport/{case} HTTP/1.1\r\nHost: 127.0.0.1\r\n"
    rest = f"Authorization: Bearer {token}\r\nAccept: application/fhir+json\r\n\r\n"
    with ExitStack() as held:
        for number in range(HANGING):
            address = ("127.0.0.1", scene.installation.port)
            reader = held.enter_context(socket.create_connection(address, timeout=60))
            reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
            reader.sendall((head if number % 2 else head + rest).encode())
            if number % 2 == 0:
                reader.recv(1)
        yield


def _revoke(scene: Scene, token: str) -> None:
    with scene.sessions() as session, session.begin():
        session.execute(
            update(EhrClient)
            .where(EhrClient.token_hash == digest(token))
            .values(revoked_at=database_now(session))
        )


FAULTS = (
    Fault(
        23,
        "record system hangs, repeats, is revoked",
        "the same version each time, 401 after revocation, the portal stays up;"
        " reports are pulled only: delivery by push is not built",
        vex_with_record_system,
    ),
)
