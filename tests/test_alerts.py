"""The alert rules name metrics that exist, and each has its entry in the runbook."""

import re
from datetime import timedelta
from typing import Any

import pytest
import yaml
from prometheus_client import CollectorRegistry, generate_latest
from sqlalchemy.orm import sessionmaker

from clinic.audit_event import AuditAction
from clinic.records import keys
from clinic.records.db import SessionFactory, make_engine
from ml.drift import REFERENCE_SIZE, WINDOW_SIZE
from tests.results import keep_results
from tests.sources import ROOT
from tests.world import World, build
from web.request_log import REQUESTS, SECONDS
from worker.audit_walk import AuditWalker
from worker.metrics import InstallationCollector

RULES: list[dict[str, Any]] = yaml.safe_load(
    (ROOT / "deploy/prometheus/alerts.yml").read_text(encoding="utf-8")
)["groups"][0]["rules"]
RUNBOOK = (ROOT / "docs/runbook.md").read_text(encoding="utf-8")
_METRIC = re.compile(r"dermqueue_\w+")


def scrape(sessions: SessionFactory) -> str:
    registry = CollectorRegistry()
    registry.register(InstallationCollector(sessions))
    return generate_latest(registry).decode()


@pytest.fixture
def busy(sessions: SessionFactory, tmp_path: Any) -> World:
    """An installation with something of everything."""
    world = build(sessions, tmp_path)
    world.signed(world.alice, world.bob)
    with sessions() as session, session.begin():
        keep_results(session, world, [0.9] * REFERENCE_SIZE + [0.4] * WINDOW_SIZE)
        world.auditor.record(session, AuditAction.EMERGENCY_ACCESS, "test")
        keys.enrol_process(
            session, b"s", program="worker", model_version="v1", model_fingerprint="f" * 64
        )
    for _ in range(2):
        AuditWalker(sessions, world.auditor.key).step()
    return world


def names_in(text: str) -> set[str]:
    return {line.split("{")[0].split(" ")[0] for line in text.splitlines() if line[:1] != "#"}


def portal_names() -> set[str]:
    counter, histogram = (one.describe()[0].name for one in (REQUESTS, SECONDS))
    return {f"{counter}_total", *(f"{histogram}_{end}" for end in ("bucket", "count", "sum"))}


def test_every_metric_of_the_rules_exists_and_none_tells_an_id(busy: World) -> None:
    text = scrape(busy.sessions)
    known = names_in(text) | portal_names()

    for rule in RULES:
        assert set(_METRIC.findall(rule["expr"])) <= known, rule["alert"]
    for person in busy.people.values():
        assert person.account_id not in text
    assert not re.search(r"[0-9a-f]{32}", text.replace("f" * 64, ""))


def test_the_numbers_are_those_of_the_installation(busy: World) -> None:
    text = scrape(busy.sessions)

    for line in (
        "dermqueue_database_up 1.0",
        'dermqueue_cases{state="queued",urgency="unsorted"} 1000.0',
        "dermqueue_workers_alive 2.0",
        'dermqueue_model_info{fingerprint="' + "f" * 64 + '",version="v1"} 1.0',
        'dermqueue_drift_level{version="v1"} 1.0',
        'dermqueue_drift_shifted{side="answers",signal="highest_probability"} 1.0',
        'dermqueue_stage_seconds{stage="analyse",statistic="median"} 0.5',
        "dermqueue_audit_intact 1.0",
    ):
        assert line in text, line
    left = re.search(r"^dermqueue_epoch_key_seconds_left (\S+)", text, re.MULTILINE)
    assert left is not None
    assert 0 < float(left[1]) <= timedelta(days=14).total_seconds()


def test_without_the_database_a_scrape_says_so_and_nothing_else() -> None:
    engine = make_engine("postgresql+psycopg://nobody@127.0.0.1:1/none")

    assert names_in(scrape(sessionmaker(engine))) == {"dermqueue_database_up"}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_each_alert_is_explained(rule: dict[str, Any]) -> None:
    name = rule["alert"]
    entry = RUNBOOK.partition(f"### {name}\n")[2].partition("\n##")[0]

    assert rule["annotations"]["runbook"] == f"docs/runbook.md#{name.lower()}"
    assert " ".join(entry.split()).startswith(rule["annotations"]["summary"])
    assert "- Look at: " in entry
    assert "- Do: " in entry
    assert rule["labels"]["severity"] in {"critical", "warning", "info"}


def test_no_entry_explains_an_alert_that_does_not_exist() -> None:
    section = RUNBOOK.partition("## Alerts\n")[2].partition("\n## ")[0]

    assert set(re.findall(r"^### (\w+)$", section, re.MULTILINE)) == {one["alert"] for one in RULES}
