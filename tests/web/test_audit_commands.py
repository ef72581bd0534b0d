"""`flask audit`: the chain against its anchors, and the entries as FHIR AuditEvents."""

import json
from pathlib import Path
from typing import Any

import fhirkit
import pytest
from flask import Flask
from sqlalchemy import delete, func, select, update

from clinic.audit_anchor import AnchorFile
from clinic.audit_event import AuditAction
from clinic.fhir_checks import problems
from clinic.records.models import AuditEntry, AuditHead
from tests.portal_tools import entries
from tests.world import World
from worker.audit_anchoring import AuditAnchoring


@pytest.fixture
def run(app: Flask) -> Any:
    return lambda *args: app.test_cli_runner().invoke(args=["audit", *(str(one) for one in args)])


@pytest.fixture
def anchors(world: World, tmp_path: Path) -> Path:
    """A chain with some entries, and an anchor of it."""
    world.screened(world.alice)
    file = AnchorFile(tmp_path / "anchors.jsonl")
    assert AuditAnchoring(world.sessions, file, world.eraser.signer).step()
    return file.path


def test_a_chain_that_agrees_with_its_anchors_holds(run: Any, anchors: Path) -> None:
    assert run("verify", "--anchors", anchors).output == (
        "The audit chain holds.\nIt agrees with 1 anchors.\n"
    )


def test_a_chain_that_was_set_back_with_its_head_is_named_by_the_anchors_alone(
    run: Any, world: World, anchors: Path
) -> None:
    with world.sessions() as session, session.begin():
        last = session.scalar(select(func.max(AuditEntry.sequence))) or 0
        kept = session.get_one(AuditEntry, last - 1)
        session.execute(delete(AuditEntry).where(AuditEntry.sequence == last))
        session.execute(update(AuditHead).values(sequence=kept.sequence, mac=kept.mac))

    assert run("verify").exit_code == 0
    found = run("verify", "--anchors", anchors)
    assert found.exit_code == 1
    assert f"Entry {last} is missing" in found.output


def test_anchors_that_were_changed_are_refused(run: Any, anchors: Path) -> None:
    anchors.write_text(anchors.read_text().replace('"mac": "', '"mac": "0'))
    found = run("verify", "--anchors", anchors)
    assert found.exit_code == 1
    assert "was changed" in found.output


def test_every_entry_is_exported_as_a_sound_audit_event(
    run: Any, world: World, tmp_path: Path
) -> None:
    world.signed(world.alice, world.bob)
    target = tmp_path / "audit.ndjson"
    with world.sessions() as session:
        count = session.scalar(select(func.count()).select_from(AuditEntry))

    done = run("export", "--fhir", target)

    assert done.output == f"Wrote {count} AuditEvents to {target}.\n"
    events = [json.loads(line) for line in target.read_text().splitlines()]
    assert [one["id"] for one in events] == [f"audit-{place + 1}" for place in range(count or 0)]
    assert [problem for one in events for problem in problems(one)] == []
    assert [str(issue) for one in events for issue in fhirkit.validate(one)] == []
    (entry,) = entries(world, AuditAction.AUDIT_EXPORTED)
    assert entry.detail == f"{count} entries as FHIR"


def test_an_export_begins_on_a_day_and_overwrites_nothing(
    run: Any, world: World, tmp_path: Path
) -> None:
    world.submit(world.alice)
    target = tmp_path / "audit.ndjson"
    assert "Wrote 0 AuditEvents" in run("export", "--fhir", target, "--since", "2999-01-01").output

    again = run("export", "--fhir", target)
    assert again.exit_code == 1
    assert "exists. Name a new file." in again.output
