"""gunicorn's settings that no flag can say: `gunicorn --config python:web.gunicorn_settings`.

Its logs are JSON lines like everybody's. Its processes count requests in one folder of their own,
so that any of them can answer for all (prometheus_client's multiprocess mode).
"""

import shutil
import tempfile
from typing import Any

_LOGGERS = ("gunicorn.error", "gunicorn.access")

_counts = tempfile.mkdtemp(prefix="dermqueue-metrics-")
raw_env = [f"PROMETHEUS_MULTIPROC_DIR={_counts}"]
logconfig_dict: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"json": {"()": "clinic.json_log.JsonFormatter", "program": "web"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "json"}},
    "root": {"level": "WARNING", "handlers": ["stderr"]},
    "loggers": {name: {"level": "WARNING", "handlers": [], "propagate": True} for name in _LOGGERS},
}


def on_exit(_server: Any) -> None:
    """Leave nothing behind."""
    shutil.rmtree(_counts, ignore_errors=True)
