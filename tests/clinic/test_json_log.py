"""Log lines: one JSON object each, with what correlates them and without what people wrote."""

import io
import json
import logging
import re
import threading
import warnings
from collections.abc import Iterator
from typing import Any

import pytest

from clinic.json_log import (
    EXTRA,
    JsonFormatter,
    about_case,
    begin_request,
    request_id,
    set_case,
    start_logging,
)
from clinic.records.keys import NoEpochKeyError

CANARY = "CANARY Jane Doe"
CASE = "3f2a99c1" + "0" * 24


@pytest.fixture
def lines() -> Iterator[list[dict[str, Any]]]:
    """What any logger writes while the test runs."""
    stream, root = io.StringIO(), logging.getLogger()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter("test"))
    before = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    found: list[dict[str, Any]] = []
    handler.flush = lambda: found.append(json.loads(stream.getvalue().splitlines()[-1]))  # type: ignore[method-assign]
    begin_request("r" * 32)
    yield found
    root.removeHandler(handler)
    root.setLevel(before)
    begin_request("")


def fail(error: Exception) -> None:
    raise error


def test_words_that_do_not_fit_their_arguments_are_kept_as_they_are() -> None:
    record = logging.makeLogRecord({"name": "celery", "msg": "broken %d", "args": (CANARY,)})

    assert json.loads(JsonFormatter("test").format(record))["message"] == "broken %d"


def test_a_line_says_when_who_and_what(lines: list[dict[str, Any]]) -> None:
    set_case(CASE)
    logging.getLogger("web.request").info("request", extra={EXTRA: {"status": 200}})

    (line,) = lines
    assert line["at"].endswith("+00:00")
    assert (line["level"], line["program"], line["logger"]) == ("info", "test", "web.request")
    assert (line["message"], line["status"]) == ("request", 200)
    assert (line["request"], line["case"]) == ("r" * 32, "3F2A-99C1")


def test_a_new_request_forgets_the_case_before(lines: list[dict[str, Any]]) -> None:
    set_case(CASE)
    begin_request("s" * 32)
    logging.getLogger("web").info("next")

    assert "case" not in lines[0]
    assert request_id() == "s" * 32


def test_an_error_of_a_library_keeps_type_and_place_but_not_its_message(
    lines: list[dict[str, Any]],
) -> None:
    try:
        try:
            fail(KeyError(CANARY))
        except KeyError as cause:
            raise ValueError(CANARY) from cause
    except ValueError:
        logging.getLogger("worker").exception("failed")

    (line,) = lines
    assert (line["error"]["type"], line["error"]["cause"]) == ("ValueError", "KeyError")
    assert "test_json_log.py" in line["error"]["where"][-1]
    assert CANARY not in json.dumps(line)


def test_an_error_of_our_own_keeps_its_message(lines: list[dict[str, Any]]) -> None:
    try:
        fail(NoEpochKeyError("No valid clinic key: run `flask keys epoch`."))
    except NoEpochKeyError:
        logging.getLogger("worker").exception("failed")

    assert "run `flask keys epoch`" in lines[0]["error"]["message"]


@pytest.mark.parametrize(
    ("message", "args", "shown"),
    [
        ("Error handling request %s", (f"/sign-in-link/{CANARY}",), "Error handling request ..."),
        ("Task %(name)s took %(runtime)ss", ({"name": CANARY, "runtime": 2},), "Task ... took 2s"),
        ("%s received", ("worker.tasks.x_task",), "worker.tasks.x_task received"),
        ("lost: %r", (ValueError(CANARY),), "lost: 'ValueError'"),
        ("no argument", (), "no argument"),
        (f"Invalid request from ip=127.0.0.1: {CANARY}", (), "Invalid request from ip"),
    ],
)
def test_the_words_of_a_library_stay_and_the_texts_in_them_go(
    lines: list[dict[str, Any]], message: str, args: tuple[Any, ...], shown: str
) -> None:
    logging.getLogger("gunicorn.error").error(message, *args)

    assert lines[0]["message"] == shown
    assert CANARY not in json.dumps(lines)


def test_an_error_names_its_case_also_after_the_block(lines: list[dict[str, Any]]) -> None:
    try:
        with about_case(CASE):
            logging.getLogger("worker").info("within")
            fail(RuntimeError(CANARY))
    except RuntimeError:
        logging.getLogger("celery.app.trace").exception("Task failed: %s", CANARY)
    logging.getLogger("worker").info("after")

    assert [line.get("case") for line in lines] == ["3F2A-99C1", "3F2A-99C1", None]


def test_uncaught_errors_of_every_thread_and_warnings_are_lines_too(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = logging.getLogger()
    for name in ("sys.excepthook", "threading.excepthook"):
        monkeypatch.setattr(name, None)
    before, level = list(root.handlers), root.level
    try:
        start_logging("test", "INFO")
        warnings.simplefilter("always")
        thread = threading.Thread(target=lambda: int(CANARY))
        thread.start()
        thread.join()
        warnings.warn(CANARY, UserWarning, stacklevel=1)
    finally:
        logging.captureWarnings(capture=False)
        root.handlers[:] = before
        root.setLevel(level)

    found = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [one["message"] for one in found] == ["uncaught error", found[1]["message"]]
    assert re.search(r"test_json_log\.py:\d+: UserWarning$", found[1]["message"])
    assert found[0]["error"]["type"] == "ValueError"
    assert CANARY not in json.dumps(found)
