"""Faults of the keeper and its keys: down, slow, the wrong master key, exchanged key ids."""

import json
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
from sqlalchemy import select

from clinic.keeper_protocol import ObjectKind
from clinic.key_files import MASTER_FILE, ROOT_PRIVATE_FILE, read_root_private
from clinic.master_key import read_master_key
from clinic.records import keys
from clinic.records.models import SealedObject
from tools.chaos import canary
from tools.chaos.fault import Fault
from tools.chaos.faults_of_storage import send_photo_again
from tools.chaos.injection import started_with
from tools.chaos.processes import frozen, kill_group
from tools.chaos.scene import Ending, Scene, ending_of
from tools.portal_client import PortalError

AWAY_SECONDS = 20.0
AWAY_SECONDS_SHORT = 8.0
ENDED_SECONDS = 60.0


def kill_keeper(scene: Scene) -> None:
    """SIGKILL; the supervisor leaves it down for a while."""
    with _desk_closed(scene):
        keeper = scene.program("keeper")
        kill_group(keeper)
        away = scene.lasting(AWAY_SECONDS, short=AWAY_SECONDS_SHORT)
        keeper.restart_at = time.monotonic() + away
        _nothing_opens(scene)
        scene.pause(max(0.0, keeper.restart_at - time.monotonic()))


def freeze_keeper(scene: Scene) -> None:
    """SIGSTOP: it takes requests and does not answer."""
    with _desk_closed(scene), frozen(scene.program("keeper")):
        _nothing_opens(scene)
        scene.pause(scene.lasting(AWAY_SECONDS, short=AWAY_SECONDS_SHORT))


def exchange_master_key(scene: Scene) -> None:
    """The keeper starts with another installation's master key."""
    wrong = scene.installation.folder / "wrong.key"
    wrong.write_bytes(secrets.token_bytes(32))
    wrong.chmod(0o400)
    changed = {"DERMQUEUE_MASTER_KEY_FILE": str(wrong)}
    with _desk_closed(scene), started_with(scene, "keeper", changed):
        _nothing_opens(scene)
        scene.pause(scene.lasting(AWAY_SECONDS, short=AWAY_SECONDS_SHORT))
    wrong.unlink()


@contextmanager
def _desk_closed(scene: Scene) -> Iterator[None]:
    """Cases are sent while the block makes the keeper fail; they lose no attempt by it."""
    _claim_a_case(scene)
    sent_before = set(scene.trial)
    yield
    cases = [one for one in scene.trial if one not in sent_before]
    scene.until(
        lambda: all(ending_of(row) for row in scene.rows(cases)),
        ENDED_SECONDS,
        what="the cases had not ended although the keeper was back",
    )
    for row in scene.rows(cases):
        scene.must(row.attempt == 1, f"Without keys a case lost attempts: {row.attempt}.")


def _claim_a_case(scene: Scene) -> None:
    """The dermatologist reads a case: its history is on the page."""
    case = scene.trial[0]
    scene.until(lambda: ending_of(scene.row(case)) is not None, ENDED_SECONDS, what="no case ended")
    page = scene.desk.get(f"/review/{case}")
    page = scene.desk.post(f"/review/{case}/claim", {}, page=page)
    scene.must(canary.NOTES in page, "The desk does not show the history of a claimed case.")


def _nothing_opens(scene: Scene) -> None:
    """Uploads go on. The desk says 503 and shows nothing; the patient's page goes on."""
    case = scene.trial[0]
    scene.submit(2)
    scene.cases[case].patient.get(f"/cases/{case}")
    try:
        scene.desk.get(f"/review/{case}")
    except PortalError as error:
        answer = error.answer
    else:
        answer = None
    if answer is None or answer.status_code != httpx.codes.SERVICE_UNAVAILABLE:
        shown = "the page" if answer is None else answer.status_code
        scene.must(condition=False, words=f"Without keys the desk answered {shown}, and not 503.")
        return
    scene.must("Retry-After" in answer.headers, "The 503 does not say when to come again.")
    open_text = [one for one in (canary.NOTES, canary.FAMILY_NAME) if one in answer.text]
    scene.must(not open_text, f"The 503 shows {open_text}.")


def exchange_key_id(scene: Scene) -> None:
    """A photo's header names another key of the clinic than the one that it was sealed to."""
    folder = scene.installation.key_folder
    master = read_master_key(folder / MASTER_FILE)
    root = read_root_private(folder / ROOT_PRIVATE_FILE)
    with frozen(scene.program("worker")):
        (case,) = scene.submit(1)
        scene.expect(case, Ending.UNREADABLE)
        with scene.sessions() as session, session.begin():
            other = keys.publish_epoch(session, master, root)
            photo = session.scalars(
                select(SealedObject)
                .where(SealedObject.submission_id == case)
                .where(SealedObject.kind == ObjectKind.PHOTO)
            ).one()
            header = json.loads(photo.header)
            header["recipients"][0]["kid"] = other
            photo.header = json.dumps(header)
    scene.until(
        lambda: ending_of(scene.row(case)) == Ending.UNREADABLE,
        ENDED_SECONDS,
        what="an exchanged key id was not noticed",
    )
    send_photo_again(scene, case)


AWAY = "503 at the desk, nothing shown; uploads go on; no case loses an attempt"
FAULTS = (
    Fault(18, "keeper killed", AWAY, kill_keeper),
    Fault(18, "keeper frozen", AWAY, freeze_keeper),
    Fault(18, "keeper with a wrong master key", AWAY, exchange_master_key),
    Fault(
        18,
        "key id of a photo exchanged",
        "it is not opened; the patient is asked for another",
        exchange_key_id,
    ),
)
