"""Faults around erasure and backup: a patient erased in mid-analysis, everything lost and restored.

The commands are run as an engineer runs them, each in a process of its own.
"""

import shutil
import subprocess
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor, wait

from sqlalchemy import func, select, text

from clinic.records.models import PatientKey, ScreeningResult, SealedObject, Submission
from clinic.submission import ScreeningState
from tools.chaos import people
from tools.chaos.fault import Fault
from tools.chaos.injection import start_all, stop
from tools.chaos.processes import frozen, kill_group
from tools.chaos.scene import Scene
from tools.chaos.stacks import LEASE_SECONDS, Database
from tools.installation import ROOT

ENDED_SECONDS = 90.0
FROZEN_SECONDS = 15.0  # then the worker goes on: it may hold a lock that the erasure waits for
COMMAND_SECONDS = 120.0
ADMIN_APP = "web.app:create_admin_app"
BACKUP_APP = "web.app:create_backup_app"


def erase_in_analysis(scene: Scene) -> None:
    """A patient is erased while a worker holds the case, and once more while it waits."""
    held = _sent_by_newcomer(scene)
    scene.until(
        lambda: _state(scene, held) != ScreeningState.QUEUED,
        ENDED_SECONDS,
        what="no case was taken",
    )
    with ThreadPoolExecutor(1) as threads:
        with frozen(scene.program("worker")):
            waiting = _sent_by_newcomer(scene)
            patients = [scene.row(one).patient_id for one in (held, waiting)]
            erasing = [threads.submit(_erase, scene, one) for one in patients]
            wait(erasing, timeout=FROZEN_SECONDS)
        for one in erasing:
            one.result()
    scene.pause(2.0 * LEASE_SECONDS)
    for case, patient_id in zip((held, waiting), patients, strict=True):
        _nothing_is_left(scene, case, patient_id)
        scene.forget(case)


def _erase(scene: Scene, patient_id: str) -> None:
    flask(scene, ADMIN_APP, "patients", "erase", patient_id, "--yes")


def _sent_by_newcomer(scene: Scene) -> str:
    patient = scene.newcomer()
    form = scene.form_of(patient)
    scene.post(patient, form)
    scene.must(form.submission_id in scene.cases, "A newcomer's case was not accepted.")
    return form.submission_id


def _state(scene: Scene, case: str) -> ScreeningState:
    return ScreeningState(scene.row(case).screening_state)


def _nothing_is_left(scene: Scene, case: str, patient_id: str) -> None:
    rows = {
        "submissions": select(func.count()).where(Submission.id == case),
        "results": select(func.count()).where(ScreeningResult.submission_id == case),
        "objects": select(func.count()).where(SealedObject.patient_id == patient_id),
        "living keys": select(func.count())
        .where(PatientKey.patient_id == patient_id)
        .where(PatientKey.destroyed_at.is_(None)),
    }
    with scene.sessions() as session:
        left = {name: session.scalar(query) for name, query in rows.items()}
    scene.must(not any(left.values()), f"Of an erased patient there are left: {left}.")


def restore_with_full_queue(scene: Scene) -> None:
    """Backup with a full queue; one patient is erased; everything is wiped and restored."""
    scene.until(scene.all_ended, ENDED_SECONDS, what="the first cases had not ended")
    stop(scene.program("worker"))
    scene.submit(4)
    erased = _sent_by_newcomer(scene)
    erased_patient = scene.row(erased).patient_id
    folder = scene.installation.folder
    keys = folder.parent / "backup-keys"
    backup = {"DERMQUEUE_BACKUP_DIR": str(folder.parent / "backups")}
    said = flask(
        scene, BACKUP_APP, "backup", "new-keys", str(keys), changed={**backup, **_any_recipient()}
    )
    backup["DERMQUEUE_BACKUP_RECIPIENT"] = said.partition("database: ")[2].split()[0]
    flask(scene, BACKUP_APP, "backup", changed=backup)
    _erase(scene, erased_patient)
    scene.forget(erased)
    _wipe(scene)
    identity, ledger = keys / "database.identity", folder / "erasures.jsonl"
    words = ("restore", "--identity", str(identity), "--ledger", str(ledger))
    flask(scene, BACKUP_APP, *words, changed=backup)
    start_all(scene)
    _sign_in_again(scene)
    _nothing_is_left(scene, erased, erased_patient)


def _any_recipient() -> Mapping[str, str]:
    """The command that makes the keys needs one in its settings, and does not use it."""
    return {"DERMQUEUE_BACKUP_RECIPIENT": "age1none"}


def _wipe(scene: Scene) -> None:
    """Database, photo store and the broker's memory are gone; the key files were kept apart."""
    for program in scene.running.supervisor.programs:
        kill_group(program)
    folder = scene.installation.folder
    if scene.stack.database is Database.POSTGRES:
        _empty_schema(scene)
    scene.installation.engine.dispose()
    for path in folder.glob("dermqueue.db*"):
        path.unlink()
    for name in ("blobs", "broker"):
        shutil.rmtree(folder / name)
        (folder / name).mkdir(mode=0o700)


def _empty_schema(scene: Scene) -> None:
    with scene.installation.engine.begin() as connection:
        name = connection.scalar(text("SELECT current_schema()"))
        connection.execute(text(f"DROP SCHEMA {name} CASCADE"))
        connection.execute(text(f"CREATE SCHEMA {name}"))


def _sign_in_again(scene: Scene) -> None:
    """Nobody is signed in after a restore."""
    for patient in scene.patients:
        patient.sign_in_again()
    scene.desk.close()
    scene.desk = people.new_desk(scene.running)


def flask(scene: Scene, app: str, *words: str, changed: Mapping[str, str] | None = None) -> str:
    """Run one of the engineer's commands as a process of its own; return what it printed."""
    done = subprocess.run(
        [sys.executable, "-m", "flask", "--app", app, *words],
        env={**scene.installation.environment(), **(changed or {})},
        cwd=ROOT,
        capture_output=True,
        timeout=COMMAND_SECONDS,
        text=True,
        check=False,
    )
    scene.must(done.returncode == 0, f"`flask {' '.join(words[:2])}` failed: {done.stderr[-300:]}")
    return done.stdout


FAULTS = (
    Fault(
        24,
        "patient erased in mid-analysis",
        "no result is stored; keys, rows and photos are gone",
        erase_in_analysis,
    ),
    Fault(
        25,
        "wiped and restored with a full queue",
        "the queue goes on; who was erased since stays erased",
        restore_with_full_queue,
        recover_seconds=180.0,
        load_every=None,
        fresh=True,
    ),
)
