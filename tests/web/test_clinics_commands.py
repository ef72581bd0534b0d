"""`flask clinics`: made, listed, renamed, changed, closed; one clear sentence for wrong input."""

import re
from typing import Any

import pytest
from click.testing import Result
from flask import Flask

from clinic.audit_event import AuditAction
from clinic.records.models import Account, Clinic, Invitation
from tests.portal_tools import count, entries
from tests.world import World


@pytest.fixture
def run(app: Flask) -> Any:
    """`flask clinics ...` in this installation."""
    return lambda *args: app.test_cli_runner().invoke(args=["clinics", *args])


def refused(result: Result, sentence: str) -> bool:
    assert isinstance(result.exception, SystemExit), result.exception
    assert result.exit_code != 0
    return sentence in " ".join(result.output.split())


def clinic_at(world: World, slug: str) -> Clinic:
    with world.sessions() as session:
        return session.query(Clinic).filter_by(slug=slug).one()


def test_a_clinic_is_created_with_an_address_from_its_name(run: Any, world: World) -> None:
    result = run("create", "Hafen-Klinik für Haut", "--phone", "01632 960 983")

    clinic = clinic_at(world, "hafen-klinik-fur-haut")
    assert re.search(r"has the id ([0-9a-f]{32})\.", result.output).group(1) == clinic.id
    assert "/c/hafen-klinik-fur-haut." in result.output
    assert (clinic.phone, clinic.time_zone) == ("01632 960 983", "Europe/London")
    (entry,) = entries(world, AuditAction.CLINIC_CREATED)
    assert (entry.clinic_id, entry.detail) == (clinic.id, clinic.slug)


def test_a_clinic_needs_a_phone_a_real_time_zone_and_an_address_of_its_own(
    run: Any, world: World
) -> None:
    before = count(world, Clinic)

    assert refused(run("create", "A clinic"), "Missing option '--phone'")
    wrong = run("create", "A clinic", "--phone", "1", "--time-zone", "Mars/Crater")
    assert refused(wrong, "There is no time zone Mars/Crater")
    assert refused(run("create", "Clinic 1", "--phone", "1"), "address clinic-1 already")
    for address in ("", "Upper", "two words", "-edge", "a" * 41, "../etc"):
        odd = run("create", "A clinic", "--phone", "1", "--address", address)
        assert refused(odd, "is no address"), address
    assert refused(run("create", "診療所", "--phone", "1"), "Choose one with --address")
    assert count(world, Clinic) == before


def test_the_list_names_every_clinic(run: Any) -> None:
    run("close", "clinic-2", "--yes")
    first, second = run("list").output.splitlines()

    assert first.startswith("clinic-1  Clinic 1  0  Europe/London")
    assert "closed" not in first
    assert second.startswith("clinic-2")
    assert re.search(r"closed \d{4}-\d\d-\d\d$", second)


def test_a_new_name_keeps_the_address(run: Any, world: World) -> None:
    assert run("rename", "clinic-1", "The New Name").exit_code == 0

    assert clinic_at(world, "clinic-1").name == "The New Name"
    assert [one.detail for one in entries(world, AuditAction.CLINIC_CHANGED)] == ["name"]


def test_phone_and_time_zone_can_be_changed(run: Any, world: World) -> None:
    assert run("change", "clinic-1", "--phone", "7", "--time-zone", "Asia/Kolkata").exit_code == 0

    clinic = clinic_at(world, "clinic-1")
    assert (clinic.phone, clinic.time_zone) == ("7", "Asia/Kolkata")
    assert refused(run("change", "clinic-1"), "Say what to change")
    assert refused(run("change", "clinic-1", "--time-zone", "Moon"), "There is no time zone Moon")
    assert clinic_at(world, "clinic-2").phone == "0"


@pytest.mark.parametrize("command", [("rename", "x", "New"), ("change", "x", "--phone", "1")])
def test_an_unknown_address_is_refused_with_those_that_there_are(
    run: Any, command: tuple[str, ...]
) -> None:
    assert refused(run(*command), "no clinic with the address x, but: clinic-1, clinic-2.")


def test_a_clinic_is_closed_once_and_only_after_a_yes(run: Any, world: World) -> None:
    assert run("close", "clinic-1").exit_code != 0
    assert clinic_at(world, "clinic-1").closed_at is None

    assert run("close", "clinic-1", "--yes").exit_code == 0

    assert clinic_at(world, "clinic-1").closed_at is not None
    assert len(entries(world, AuditAction.CLINIC_CLOSED)) == 1
    assert refused(run("close", "clinic-1", "--yes"), "was closed on")


def test_a_command_that_makes_people_asks_which_clinic_is_meant(app: Flask, world: World) -> None:
    invite = ["users", "invite", "auditor"]

    asked = app.test_cli_runner().invoke(args=invite)

    assert refused(asked, "several clinics: name one with --clinic (clinic-1, clinic-2).")
    assert count(world, Invitation) == 0
    with world.sessions() as session, session.begin():
        session.query(Account).filter_by(clinic_id=world.other_clinic_id).delete()
        session.query(Clinic).filter_by(id=world.other_clinic_id).delete()
    made = app.test_cli_runner().invoke(args=invite)
    assert made.exit_code == 0, made.output
