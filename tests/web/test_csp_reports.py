"""Reports of a broken content policy become counts, whatever is sent and however often."""

import json
from typing import Any

import pytest
from flask.testing import FlaskClient
from prometheus_client import REGISTRY

from web.csp_reports import LONGEST_REPORT, MOST_REPORTS
from web.security_headers import REPORT_PATH

OLD = "application/csp-report"
NEW = "application/reports+json"
SECRET = "https://skin.example/cases/0123456789abcdef?who=Jane"


def counted(rule: str) -> float:
    return REGISTRY.get_sample_value("dermqueue_csp_reports_total", {"rule": rule}) or 0.0


def old_report(directive: str) -> dict[str, Any]:
    return {"csp-report": {"document-uri": SECRET, "violated-directive": f"{directive} 'self'"}}


def new_report(directive: str) -> dict[str, Any]:
    body = {"effectiveDirective": directive, "documentURL": SECRET, "blockedURL": SECRET}
    return {"type": "csp-violation", "url": SECRET, "body": body}


def send(client: FlaskClient, body: Any, kind: str = NEW) -> int:
    return client.post(REPORT_PATH, data=json.dumps(body), content_type=kind).status_code


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (OLD, old_report("style-src-attr")),
        (NEW, [new_report("style-src-attr"), {"type": "deprecation", "body": {}}]),
    ],
)
def test_a_report_is_counted_by_its_rule_alone(
    client: FlaskClient, kind: str, body: Any, caplog: pytest.LogCaptureFixture
) -> None:
    before = counted("style-src-attr")

    assert send(client, body, kind) == 204

    assert counted("style-src-attr") == before + 1
    told = client.get("/metrics", environ_overrides={"SERVER_PORT": "9101"}).text
    assert "dermqueue_csp_reports_total" in told
    for kept in (told, caplog.text):
        assert "Jane" not in kept
        assert "0123456789abcdef" not in kept


def test_a_rule_that_does_not_exist_is_no_name_of_its_own(client: FlaskClient) -> None:
    before = counted("other")

    assert send(client, [new_report("Jane Doe"), new_report("")]) == 204

    assert counted("other") == before + 2
    assert counted("Jane Doe") == 0


@pytest.mark.parametrize("body", [[], {}, 5, "text", None, [1, None, {"type": "csp-violation"}]])
def test_what_is_no_report_is_taken_and_counts_nothing(client: FlaskClient, body: Any) -> None:
    before = counted("other")

    assert send(client, body) == 204
    assert counted("other") == before


@pytest.mark.parametrize(
    ("data", "kind", "status"),
    [
        (b"{", NEW, 400),
        (b"[" * 60_000, NEW, 400),
        (b"[" + b" " * LONGEST_REPORT + b"]", NEW, 413),
        (b"{}", "application/json", 415),
        (b"a=b", "application/x-www-form-urlencoded", 415),
    ],
)
def test_what_cannot_be_read_is_refused(
    client: FlaskClient, data: bytes, kind: str, status: int
) -> None:
    assert client.post(REPORT_PATH, data=data, content_type=kind).status_code == status


def test_one_message_counts_no_more_than_a_browser_sends(client: FlaskClient) -> None:
    before = counted("img-src")

    send(client, [new_report("img-src")] * (MOST_REPORTS + 5))

    assert counted("img-src") == before + MOST_REPORTS


def test_the_thirty_first_message_of_a_minute_is_not_counted(client: FlaskClient) -> None:
    assert [send(client, []) for _ in range(31)] == [204] * 30 + [429]
