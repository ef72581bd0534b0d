"""The clock of the housekeeping tasks. Running twice or not at all loses nothing."""

from clinic.hints import INFERENCE_QUEUE
from config import Settings
from worker.programs.parts import celery_app

IN_MEMORY = "celery.beat:Scheduler"  # the usual one keeps a file beside the program


def run(settings: Settings) -> None:
    app = celery_app(settings, queue=INFERENCE_QUEUE, tasks=None)
    app.Beat(scheduler=IN_MEMORY, loglevel=settings.log_level, quiet=True).run()
