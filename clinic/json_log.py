"""Logs as JSON lines without personal data: one object a line, the same for every program.

Our own messages hold codes and counts. A library's message keeps its words but not the texts that
were put into it (of one that is put together already, only its beginning). An exception keeps its
type and its place in the code but not its message, unless the class is ours: it may quote a form,
a file or a row. Standard logging with one formatter, because Celery, gunicorn and SQLAlchemy log
through it anyway.
"""

import json
import logging
import re
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from pathlib import Path
from traceback import extract_tb
from types import TracebackType
from typing import Any, Final

OURS: Final = frozenset({"clinic", "ml", "web", "worker"})
EXTRA: Final = "fields"  # `extra={EXTRA: {...}}` adds fields of our own to a line
_HIDDEN: Final = "..."
_FRAMES: Final = 12
# The beginning of a library's ready-made message: after it there may be a piece of a request.
_PLAIN_WORDS: Final = re.compile(r"[A-Za-z ,]*")
_TASK: Final = re.compile(r"worker\.[a-z_]+\.[a-z_]+_task\Z")
_WARNING_PLACE: Final = re.compile(r".*?:\d+: \w+(?=:)")
_CASE_NOTE: Final = re.compile(r"case ([0-9A-F]{4}-[0-9A-F]{4})\Z")

_request: ContextVar[str | None] = ContextVar("request", default=None)
_case: ContextVar[str | None] = ContextVar("case", default=None)

Fields = dict[str, Any]


def case_reference(submission_id: str) -> str:
    """The short case number: a part of the opaque id, which opens nothing."""
    return f"{submission_id[:4]}-{submission_id[4:8]}".upper()


def begin_request(request_id: str) -> None:
    """From here on every line of this thread carries the request's id, and no case yet."""
    _request.set(request_id)
    _case.set(None)


def request_id() -> str | None:
    return _request.get()


def set_case(submission_id: str) -> None:
    _case.set(case_reference(submission_id))


@contextmanager
def about_case(submission_id: str) -> Iterator[None]:
    """Lines within the block name the case, and so does the line of an error that leaves it."""
    token = _case.set(case_reference(submission_id))
    try:
        yield
    except Exception as error:
        error.add_note(f"case {case_reference(submission_id)}")
        raise
    finally:
        _case.reset(token)


class JsonFormatter(logging.Formatter):
    """A log record as one line of JSON."""

    def __init__(self, program: str) -> None:
        super().__init__()
        self.program = program

    def format(self, record: logging.LogRecord) -> str:
        error = record.exc_info[1] if record.exc_info else None
        fields: Fields = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "program": self.program,
            "process": record.process,
            "logger": record.name,
            "message": _message(record),
            "request": _request.get(),
            "case": _case.get() or _noted_case(error),
            **getattr(record, EXTRA, {}),
        }
        if error is not None:
            fields["error"] = _error(error)
        return json.dumps({name: value for name, value in fields.items() if value is not None})


def _is_ours(dotted: str) -> bool:
    return dotted.partition(".")[0] in OURS


def _message(record: logging.LogRecord) -> str:
    if _is_ours(record.name):
        return record.getMessage()
    if record.name == "py.warnings":  # the text of the warning stands in the message itself
        place = _WARNING_PLACE.match(str(record.msg))
        return place[0] if place else _HIDDEN
    words = str(record.msg)
    if not record.args:
        plain = _PLAIN_WORDS.match(words)
        return plain[0].strip() if plain else _HIDDEN
    try:
        return str(words % _without_texts(record.args))
    except (TypeError, ValueError, KeyError):
        return words


def _without_texts(args: Any) -> Any:
    if isinstance(args, Mapping):
        return {name: _without_text(value) for name, value in args.items()}
    return tuple(_without_text(value) for value in args)


def _without_text(value: object) -> object:
    if value is None or isinstance(value, int | float):
        return value
    if isinstance(value, str) and _TASK.match(value):
        return value
    return type(value).__name__ if isinstance(value, BaseException) else _HIDDEN


def _noted_case(error: BaseException | None) -> str | None:
    notes = getattr(error, "__notes__", ())
    return next((found[1] for note in notes if (found := _CASE_NOTE.match(note))), None)


def _error(error: BaseException) -> Fields:
    """Types along the chain of causes, and where in the code; messages of our own classes alone."""
    fields: Fields = {"type": _name(error), "where": _frames(error.__traceback__)}
    if _is_ours(type(error).__module__):
        fields["message"] = str(error)
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if cause is not None:
        fields["cause"] = _name(cause)
    return fields


def _name(error: BaseException) -> str:
    kind = type(error)
    return kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__name__}"


def _frames(trace: TracebackType | None) -> list[str]:
    """File, line and function of the innermost frames, without any text of the code."""
    frames = extract_tb(trace, limit=-_FRAMES)
    return [f"{_short(frame.filename)}:{frame.lineno} {frame.name}" for frame in frames]


def _short(filename: str) -> str:
    return "/".join(Path(filename).parts[-2:])


def start_logging(program: str, level: str) -> None:
    """Send every log, warning and uncaught error of this process to stderr as JSON lines."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter(program))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    logging.getLogger("alembic").setLevel(logging.WARNING)  # each readiness check asks it
    logging.captureWarnings(capture=True)
    sys.excepthook = _log_uncaught
    threading.excepthook = lambda hook: _log_uncaught(
        hook.exc_type, hook.exc_value, hook.exc_traceback
    )


def _log_uncaught(
    kind: type[BaseException], error: BaseException | None, trace: TracebackType | None
) -> None:
    if issubclass(kind, KeyboardInterrupt) or error is None:
        return
    logging.getLogger(__name__).critical("uncaught error", exc_info=(kind, error, trace))
