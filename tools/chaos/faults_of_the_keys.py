"""Faults of the keys: new epoch keys under load, and the end of the old ones."""

import httpx
from sqlalchemy import select, update

from clinic.key_files import MASTER_FILE, ROOT_PRIVATE_FILE, read_root_private
from clinic.master_key import read_master_key
from clinic.records import keys
from clinic.records.db import database_now
from clinic.records.models import EpochKeyRow, SealedObject
from tools.chaos.fault import Fault
from tools.chaos.scene import Scene
from tools.portal_client import PortalError

ROTATION_SECONDS = 2.0
SETTLED_SECONDS = 60.0


def rotate_epochs(scene: Scene) -> None:
    """A new epoch key every 2 s under load; when all is settled, every old private key goes."""
    patient, old_form = scene.form()
    for _ in range(int(scene.lasting(20.0, short=6.0) / ROTATION_SECONDS)):
        _publish(scene)
        scene.submit(1)
        scene.pause(ROTATION_SECONDS)
    scene.until(scene.all_ended, SETTLED_SECONDS, what="a case did not open under rotating keys")
    scene.until(lambda: _all_settled(scene), SETTLED_SECONDS, what="objects were not settled")
    _destroy_old(scene)
    refused = patient.post_case(old_form)
    scene.must(
        refused.status_code == httpx.codes.UNPROCESSABLE_ENTITY,
        f"A form under a destroyed key was answered {refused.status_code}.",
    )
    _open_pictures(scene, scene.trial[0])


def _publish(scene: Scene) -> None:
    folder = scene.installation.key_folder
    master = read_master_key(folder / MASTER_FILE)
    root = read_root_private(folder / ROOT_PRIVATE_FILE)
    with scene.sessions() as session, session.begin():
        keys.publish_epoch(session, master, root)


def _all_settled(scene: Scene) -> bool:
    with scene.sessions() as session:
        left = select(SealedObject.id).where(SealedObject.settled.is_(False))
        mine = left.where(SealedObject.submission_id.in_(list(scene.trial)))
        return session.scalar(mine.limit(1)) is None


def _destroy_old(scene: Scene) -> None:
    """What the destruction of an epoch key does to its row."""
    with scene.sessions() as session, session.begin():
        current = keys.current_epoch(session).epoch.kid
        session.execute(
            update(EpochKeyRow)
            .where(EpochKeyRow.kid != current)
            .values(private_wrapped=None, destroyed_at=database_now(session))
        )


def _open_pictures(scene: Scene, case_id: str) -> None:
    """The patient's own pictures open, though the key that they were sealed to is gone."""
    patient = scene.cases[case_id].patient
    try:
        pictures = patient.pictures(case_id, page=patient.get(f"/cases/{case_id}"))
    except PortalError as error:
        scene.must(condition=False, words=f"A settled picture does not open: {error}")
        return
    scene.must(bool(pictures), "The patient has no pictures.")


FAULTS = (
    Fault(
        19,
        "epoch keys rotated, old ones destroyed",
        "every case opens; forms under a destroyed key are refused",
        rotate_epochs,
        load_every=None,
    ),
)
