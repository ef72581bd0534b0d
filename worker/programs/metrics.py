"""The metrics program: /metrics on an internal address, nothing else."""

import time

from prometheus_client import CollectorRegistry, start_http_server

from clinic.records.db import every_clinic_sessions, make_engine
from config import Settings, needed
from worker.metrics import InstallationCollector
from worker.programs.parts import stop_on_signal

LOOK_FOR_STOP_SECONDS = 0.2


def run(settings: Settings) -> None:
    host, port = needed(settings.metrics_bind)
    registry = CollectorRegistry()
    engine = make_engine(needed(settings.database_url))
    reading = engine.execution_options(postgresql_readonly=True)
    registry.register(InstallationCollector(every_clinic_sessions(reading)))
    stopped = stop_on_signal()
    server, thread = start_http_server(port, host, registry)
    while not stopped():
        time.sleep(LOOK_FOR_STOP_SECONDS)
    server.shutdown()
    server.server_close()
    thread.join()
