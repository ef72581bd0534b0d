"""Faults of what is stored: no room, torn files, flipped bytes, files that changed places."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import httpx
import redis
from sqlalchemy import select

from clinic.keeper_protocol import ObjectKind
from clinic.records.models import SealedObject, Submission
from clinic.submission import ScreeningState
from tools.chaos.fault import Fault
from tools.chaos.injection import start_again, start_all
from tools.chaos.processes import file_size_limit, frozen, kill_group
from tools.chaos.scene import Ending, Scene, ending_of
from tools.chaos.stacks import Database
from tools.portal_client import PortalError

NO_ROOM_BYTES = 4096
ROOM_FOR_SMALL_FILES_BYTES = 16 * 1024 * 1024
LARGE_PHOTO_BYTES = 18 * 1024 * 1024
FULL_SECONDS = 10.0
NOTICED_SECONDS = 40.0
BACK_SECONDS = 90.0
DAMAGED = "damaged"
WAL_FRAME_BYTES = 24 + 4096  # https://www.sqlite.org/fileformat2.html#the_write_ahead_log


# No room.


def fill_disk_of_the_portal(scene: Scene) -> None:
    """First no room for a large photo, then none for anything at all."""
    scene.until(scene.all_ended, NOTICED_SECONDS, what="the first cases had not ended")
    web = scene.program("web")
    patient, form = scene.form(scene.photos[0].data + bytes(LARGE_PHOTO_BYTES))
    with file_size_limit(web, ROOM_FOR_SMALL_FILES_BYTES):
        status = scene.post(patient, form).status
        scene.must(status == httpx.codes.INSUFFICIENT_STORAGE, f"A full disk answered {status}.")
        scene.submit(1)
    scene.until(scene.all_ended, NOTICED_SECONDS, what="the case that had room did not end")
    _nothing_half(scene, form.submission_id)
    small = scene.form_of(patient)
    with file_size_limit(web, NO_ROOM_BYTES):
        status = scene.post(patient, small).status
        told = {httpx.codes.INSUFFICIENT_STORAGE, httpx.codes.SERVICE_UNAVAILABLE}
        scene.must(status in told, f"A disk without any room answered {status}.")
    _nothing_half(scene, small.submission_id)
    for one in (form, small):
        status = scene.post(patient, one).status
        scene.must(status == httpx.codes.ACCEPTED, f"With room again it answered {status}.")
    _earlier_pictures_open(scene)


def _nothing_half(scene: Scene, case_id: str) -> None:
    with scene.sessions() as session:
        row = session.get(Submission, case_id)
    scene.must(row is None, "A refused upload left a row.")
    left = scene.installation.blobs().sweep_unfinished(older_than=time.time() + 60)
    scene.must(left == 0, f"A refused upload left {left} unfinished files.")


def _earlier_pictures_open(scene: Scene) -> None:
    first = scene.trial[0]
    patient = scene.cases[first].patient
    shown = patient.pictures(first, page=patient.get(f"/cases/{first}"))
    scene.must(bool(shown), "The pictures of an earlier case do not open.")


def fill_disk_of_the_worker(scene: Scene) -> None:
    """The worker cannot store its pictures; where the database is a file, not its result either."""
    with file_size_limit(scene.program("worker"), NO_ROOM_BYTES):
        cases = scene.submit(2)
        scene.pause(scene.lasting(FULL_SECONDS, short=5.0))
    scene.until(
        lambda: all(ending_of(row) for row in scene.rows(cases)),
        BACK_SECONDS,
        what="the cases had not ended although there was room again",
    )
    for row in scene.rows(cases):
        scene.must(row.screening_state == ScreeningState.DONE, "A full disk cost a case its AI.")


# Damage.


def tear_photo(scene: Scene) -> None:
    """The second half of a stored photo is gone."""
    _damage(scene, 1, lambda files: _cut(files[0], files[0].stat().st_size // 2))


def flip_bytes_of_photo(scene: Scene) -> None:
    """Single bits rot, at the beginning, somewhere, and at the end."""

    def rot(files: Sequence[Path]) -> None:
        places = [0, int(scene.random.integers(1000)), files[2].stat().st_size - 1]
        for path, place in zip(files, places, strict=True):
            flip_byte(path, place)

    _damage(scene, 3, rot)


def swap_photos(scene: Scene) -> None:
    """Two patients' photos change places."""

    def swap(files: Sequence[Path]) -> None:
        first, second = (path.read_bytes() for path in files)
        files[0].write_bytes(second)
        files[1].write_bytes(first)

    _damage(scene, 2, swap)


def _damage(scene: Scene, count: int, harm: Callable[[list[Path]], None]) -> None:
    """Photos are harmed before the worker sees them: each patient is asked for another one."""
    with frozen(scene.program("worker")):
        cases = scene.submit(count)
        harm([path_of_photo(scene, case) for case in cases])
        for case in cases:
            scene.expect(case, Ending.UNREADABLE)
    scene.until(
        lambda: all(ending_of(row) == Ending.UNREADABLE for row in scene.rows(cases)),
        NOTICED_SECONDS,
        what="a damaged photo was not noticed",
    )
    for row in scene.rows(cases):
        said = row.retake_reason or "nothing"
        scene.must(DAMAGED in said, f"Of a damaged photo the patient reads: {said}")
    for case in cases:
        send_photo_again(scene, case)


def send_photo_again(scene: Scene, case: str) -> None:
    """The patient sends another photo; with it the case goes on as any other."""
    answer = scene.cases[case].patient.replace_photos(case, {"close_up": scene.photos[0].data})
    scene.must(
        answer.status_code == httpx.codes.ACCEPTED, f"A new photo was answered {answer.status_code}"
    )
    scene.expect(case, Ending.DONE)


def rot_picture_of_finished_case(scene: Scene) -> None:
    """A finished case's picture rots: it is not shown, and shown again once it is mended."""
    scene.until(scene.all_ended, NOTICED_SECONDS, what="the first cases had not ended")
    case = scene.trial[0]
    path = _path_of(scene, case, ObjectKind.RENDITION)
    whole = path.read_bytes()
    flip_byte(path, len(whole) // 2)
    try:
        _earlier_pictures_open(scene)
    except PortalError:
        path.write_bytes(whole)
        _earlier_pictures_open(scene)
    else:
        scene.must(condition=False, words="A picture was shown although its bytes had changed.")


def tear_file_of_the_broker(scene: Scene) -> None:
    """The machine ends while the broker writes: the end of its file is missing."""
    broker = scene.program("broker")
    kill_group(broker)
    _tear_append_only_file(scene)
    start_again(scene, "broker")
    _await_broker(scene)
    scene.submit(2)


def cut_power(scene: Scene) -> None:
    """Every program ends at the same moment, and the last write to each log is torn."""
    scene.installation.engine.dispose()
    for program in scene.running.supervisor.programs:
        kill_group(program)
    if scene.server is not None:
        scene.server.stop()
        scene.server.start()
    if scene.stack.database is Database.SQLITE:
        _tear_write_ahead_log(scene)
    _tear_append_only_file(scene)
    start_all(scene)


def _tear_append_only_file(scene: Scene) -> None:
    folder = scene.installation.folder / "broker"
    newest = max(folder.rglob("*.incr.aof"), key=lambda path: path.stat().st_mtime)
    _cut(newest, max(0, newest.stat().st_size - 7))


def _tear_write_ahead_log(scene: Scene) -> None:
    """Half of one more frame: what was committed before it must all be there."""
    log = scene.installation.folder / "dermqueue.db-wal"
    with log.open("r+b") as file:
        file.seek(-WAL_FRAME_BYTES, 2)
        frame = file.read()
        file.write(frame[: WAL_FRAME_BYTES // 2])


def _await_broker(scene: Scene) -> None:
    def answers() -> bool:
        try:
            with scene.broker() as broker:
                return bool(broker.ping())
        except redis.RedisError:
            return False

    scene.until(answers, NOTICED_SECONDS, what="the broker did not take its torn file")


# Files.


def path_of_photo(scene: Scene, case: str) -> Path:
    return _path_of(scene, case, ObjectKind.PHOTO)


def _path_of(scene: Scene, case: str, kind: ObjectKind) -> Path:
    query = select(SealedObject.id).where(SealedObject.submission_id == case)
    query = query.where(SealedObject.kind == kind, SealedObject.current)
    with scene.sessions() as session:
        name = session.scalars(query).one()
    return next((scene.installation.folder / "blobs").rglob(name))


def flip_byte(path: Path, place: int) -> None:
    with path.open("r+b") as file:
        file.seek(place)
        (byte,) = file.read(1)
        file.seek(place)
        file.write(bytes([byte ^ 0x01]))


def _cut(path: Path, size: int) -> None:
    with path.open("r+b") as file:
        file.truncate(size)


FAULTS = (
    Fault(
        15,
        "disk full under the portal",
        "507, or 503 where the database is a file; nothing half stored; earlier pictures open",
        fill_disk_of_the_portal,
        load_every=None,
    ),
    Fault(
        15,
        "disk full under the worker",
        "the cases wait for room and lose no attempt",
        fill_disk_of_the_worker,
        cases_before=0,
        load_every=None,
    ),
    Fault(16, "photo torn", "noticed; the patient is asked for another one", tear_photo),
    Fault(
        16,
        "broker's file torn",
        "the broker starts; the queue drains",
        tear_file_of_the_broker,
    ),
    Fault(
        16,
        "power cut, logs torn",
        "all that was committed is there; the queue drains",
        cut_power,
        recover_seconds=120.0,
        load_every=None,
    ),
    Fault(
        17,
        "bits of photos flipped",
        "nothing is opened; the patients are asked for others",
        flip_bytes_of_photo,
    ),
    Fault(
        17,
        "photos of two patients swapped",
        "nothing is opened; the patients are asked for others",
        swap_photos,
    ),
    Fault(
        17,
        "bits of a finished picture flipped",
        "it is not shown",
        rot_picture_of_finished_case,
        load_every=None,
    ),
)
