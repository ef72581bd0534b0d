"""The clock of the housekeeping tasks. Running twice or not at all loses nothing."""

from clinic.hints import INFERENCE_QUEUE
from config import Settings
from worker.programs.parts import celery_app


def run(settings: Settings) -> None:
    app = celery_app(settings, queue=INFERENCE_QUEUE, tasks="worker.tasks")
    # The plain scheduler keeps its times in memory; the default one would write a file.
    app.Beat(scheduler="celery.beat:Scheduler", loglevel=settings.log_level).run()
