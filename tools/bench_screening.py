"""Photos a second from the queue to the stored result, on PostgreSQL and Valkey; one JSON line.

Real programs, real sealed photos of a phone's size: nothing is left out but the portal. The clock
starts when the cases are committed and ends when the last result is stored.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from PIL import Image
from sqlalchemy import func, select

from clinic.records.models import ProcessKey, ScreeningResult, Submission
from clinic.submission import ScreeningState
from tools import installation as setup
from tools.installation import ROOT, Installation
from tools.lesion_drawing import draw_lesion
from tools.ports import free_port
from tools.postgres import PostgresServer
from tools.process_usage import Usage, usage_of
from tools.sealed_cases import CaseSender, as_jpeg
from tools.supervisor import Supervisor

PHOTOS: Final = 24
SIZE: Final = (4000, 3000)
QUALITY: Final = 93  # about 3 MB, as a phone's camera writes it
TURNS: Final = (
    Image.Transpose.ROTATE_180,
    Image.Transpose.FLIP_LEFT_RIGHT,
    Image.Transpose.FLIP_TOP_BOTTOM,
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
        sender = CaseSender.of(installation, *pictures)
        sender.send_together(workers)  # the first case of a process is slower
        _await_all(installation, supervisor, workers)
        before = _usage(supervisor)
        start = sender.send_together(photos)
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
    turned = (drawn, *(drawn.transpose(turn) for turn in TURNS))
    return [as_jpeg(one, quality=QUALITY) for one in turned]


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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--photos", type=int, default=PHOTOS)
    options = parser.parse_args()
    print(json.dumps(run(options.workers, photos=options.photos)))


if __name__ == "__main__":
    main()
