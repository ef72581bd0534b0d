"""Photos a second from the queue to the stored result, on PostgreSQL and Valkey; one JSON line.

Real programs, real sealed photos of a phone's size: nothing is left out but the portal. The clock
starts when the cases are committed and ends when the last result is stored.
"""

import argparse
import io
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

from PIL import Image
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from clinic.body_site import BodyLocation, BodySite, Side
from clinic.envelope import seal
from clinic.intake import Answer, History, Onset, SevenPoint, Sex, SkinType, Symptom
from clinic.keeper_protocol import ObjectKind
from clinic.records import keys, sealed_objects, submissions
from clinic.records.db import database_now, new_id
from clinic.records.models import Patient, ProcessKey, ScreeningResult, Submission
from clinic.records.sealed_objects import Place
from clinic.records.submissions import NewSubmission
from clinic.submission import ScreeningState
from tools import installation as setup
from tools.installation import ROOT, Installation
from tools.lesion_drawing import draw_lesion
from tools.ports import free_port
from tools.postgres import PostgresServer
from tools.process_usage import Usage, usage_of
from tools.supervisor import Supervisor

PHOTOS: Final = 24
SIZE: Final = (4000, 3000)
QUALITY: Final = 93  # about 3 MB, as a phone's camera writes it
TURNS: Final = (
    Image.Transpose.ROTATE_180,
    Image.Transpose.FLIP_LEFT_RIGHT,
    Image.Transpose.FLIP_TOP_BOTTOM,
)
HISTORY: Final = History(
    age=52,
    sex=Sex.FEMALE,
    skin_type=SkinType.II,
    location=BodyLocation(BodySite.BACK, Side.LEFT),
    onset=Onset.MONTHS,
    seven_point=dict.fromkeys(SevenPoint, Answer.NO),
    symptoms=dict.fromkeys(Symptom, Answer.NO),
    own_skin_cancer=Answer.NO,
    family_skin_cancer=Answer.NO,
    immunosuppressed=Answer.NO,
)
PATIENCE_SECONDS: Final = 300.0
LOOK_EVERY_SECONDS: Final = 0.25
MIB: Final = 1024 * 1024


def run(workers: int = 1, *, photos: int = PHOTOS) -> dict[str, Any]:
    """Rate, seconds for each stage, processor seconds a photo and memory of each program.

    Raises:
        TimeoutError: the workers did not start, or did not finish.

    """
    pictures = phone_photos()
    with _installation() as installation, _running(installation, workers) as supervisor:
        _send(installation, pictures, count=workers)  # the first case of a process is slower
        _await_all(installation, supervisor, workers)
        before = _usage(supervisor)
        start = _send(installation, pictures, count=photos)
        memory = _await_all(installation, supervisor, workers + photos)
        after = _usage(supervisor)
        seconds, stages = _finished(installation, since=start)
    return {
        "benchmark": "screening from the queue to the result (PostgreSQL, Valkey)",
        "workers": workers,
        "photos": photos,
        "photo_megabytes": round(statistics.mean(map(len, pictures)) / 1e6, 1),
        "photos_per_second": round(photos / seconds, 3),
        "seconds_of_stage": stages,
        "processor_seconds_of_photo": {
            name: round((after[name].cpu_seconds - before[name].cpu_seconds) / photos, 3)
            for name in after
        },
        "peak_mebibytes": {name: round(size / MIB) for name, size in memory.items()},
    }


def phone_photos() -> list[bytes]:
    """Four JPEGs of 12 million pixels: one drawn lesion, turned and mirrored."""
    drawn = draw_lesion(5, SIZE)
    return [_jpeg(drawn), *(_jpeg(drawn.transpose(turn)) for turn in TURNS)]


def _jpeg(image: Image.Image) -> bytes:
    out = io.BytesIO()
    image.save(out, "JPEG", quality=QUALITY)
    return out.getvalue()


@contextmanager
def _installation() -> Iterator[Installation]:
    with PostgresServer.started() as server, tempfile.TemporaryDirectory() as folder:
        installation = Installation(
            Path(folder), free_port(), free_port(), ROOT / "ml" / "weights", server.fresh_database()
        )
        setup.prepare(installation)
        try:
            yield installation
        finally:
            installation.engine.dispose()


@contextmanager
def _running(installation: Installation, workers: int) -> Iterator[Supervisor]:
    supervisor = Supervisor()
    try:
        for program in setup.programs(installation, workers=workers):
            if program.name != "web":
                supervisor.start(program)
        _until(supervisor, lambda: _count(installation, ProcessKey.id, workers))
        yield supervisor
    finally:
        supervisor.stop()


def _count(installation: Installation, column: Any, wanted: int, *conditions: Any) -> bool:
    with installation.sessions()() as session:
        return session.scalar(select(func.count(column)).where(*conditions)) == wanted


def _until(supervisor: Supervisor, condition: Callable[[], bool]) -> dict[str, int]:
    """Wait for `condition`; return the largest memory of each program that was seen."""
    give_up_at, peaks = time.monotonic() + PATIENCE_SECONDS, dict[str, int]()
    while not condition():
        supervisor.watch()
        for name, usage in _usage(supervisor).items():
            peaks[name] = max(peaks.get(name, 0), usage.memory_bytes)
        if time.monotonic() > give_up_at:
            raise TimeoutError(f"Not done in {PATIENCE_SECONDS:.0f} s.")
        time.sleep(LOOK_EVERY_SECONDS)
    return peaks


def _await_all(installation: Installation, supervisor: Supervisor, cases: int) -> dict[str, int]:
    done = Submission.screening_state == ScreeningState.DONE
    return _until(supervisor, lambda: _count(installation, Submission.id, cases, done))


def _finished(installation: Installation, *, since: datetime) -> tuple[float, dict[str, float]]:
    """Seconds from `since` to the last result, and the median seconds of each stage of a case."""
    query = select(ScreeningResult).where(ScreeningResult.finished_at > since)
    with installation.sessions()() as session:
        results = session.scalars(query).all()
    last = max(result.finished_at for result in results)
    stages = {
        name: round(statistics.median(one.stage_seconds[name] for one in results), 3)
        for name in results[0].stage_seconds
    }
    return (last - since).total_seconds(), stages


def _usage(supervisor: Supervisor) -> dict[str, Usage]:
    return {
        one.name: usage_of(one.process.pid)
        for one in supervisor.programs
        if one.process is not None
    }


def _send(installation: Installation, pictures: list[bytes], *, count: int) -> datetime:
    """Seal and store `count` cases of one photo each; return the time of their commit."""
    with installation.sessions()() as session, session.begin():
        root = installation.settings().root_public_key or b""
        recipient = keys.sealing_recipient(session, root)
        patient = session.scalars(select(Patient)).first()
        if patient is None:
            raise LookupError("The installation has no patient.")
        for number in range(count):
            case = _new_case(session, patient)
            place = Place(patient.id, case, ObjectKind.PHOTO, 0, "close_up")
            data = pictures[number % len(pictures)]
            sealed = seal(data, context=place.context, recipients=[recipient])
            blobs = installation.blobs()
            sealed_objects.add(session, blobs, place, sealed, sealed_by="browser")
            told = Place(patient.id, case, ObjectKind.HISTORY)
            sealed_objects.add_text(
                session, blobs, told, json.dumps(HISTORY.to_dict()), recipient=recipient
            )
        return database_now(session)


def _new_case(session: Session, patient: Patient) -> str:
    new = NewSubmission(
        submission_id=new_id(),
        patient_id=patient.id,
        clinic_id=patient.clinic_id,
        body_site=BodySite.BACK,
        body_side=Side.LEFT,
        ai_permitted=True,
        due_at=database_now(session) + timedelta(days=5),
    )
    return submissions.create(session, new).id


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--photos", type=int, default=PHOTOS)
    options = parser.parse_args()
    print(json.dumps(run(options.workers, photos=options.photos)))


if __name__ == "__main__":
    main()
