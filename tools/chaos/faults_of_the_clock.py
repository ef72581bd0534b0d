"""Faults of the clock: it jumps an hour ahead and back, and the hour of the zone changes.

On PostgreSQL the database's own clock counts (clinic.records.db), so a host's clock changes little
there; with SQLite the host's clock is the only one.
"""

import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyotp

from clinic.access import Role
from clinic.epoch_key import sign_epoch_key
from clinic.key_files import ROOT_PRIVATE_FILE, read_root_private
from clinic.records import keys
from clinic.records.models import EpochKeyRow
from clinic.submission import ScreeningState
from tools.chaos.fault import Fault
from tools.chaos.injection import injected, started_with
from tools.chaos.people import Patient
from tools.chaos.processes import pool_children
from tools.chaos.scene import Ending, Scene, ending_of
from tools.portal_client import PortalClient, PortalError, wait_for_fresh_code

HOUR = 3600.0
PROGRAMS = ("keeper", "worker", "relay", "reconciler", "web")
ENDED_SECONDS = 60.0
CHANGE_AFTER = timedelta(seconds=75)  # all programs are started anew before it


def jump_with_clock(scene: Scene) -> None:
    """An hour ahead, right again, an hour back, right again."""
    _make_epoch_older(scene)
    with _clocks(scene) as shift:
        for seconds in (HOUR, 0.0, -HOUR, 0.0):
            _jump(scene, shift, seconds)
            right = seconds == 0.0
            if not right:
                scene.must(not _code_counts(scene), "A one-time code of another hour counted.")
        scene.must(_code_counts(scene), "With the clock right again a one-time code is refused.")
    for patient in scene.guests:  # a jump ends sessions
        if isinstance(patient, Patient):
            patient.sign_in_again()


def _jump(scene: Scene, shift: Path, seconds: float) -> None:
    """The clock jumps just after a worker has died with a case in hand: its lease must end."""
    patient = scene.newcomer()
    form = scene.form_of(patient)
    status = scene.post(patient, form).status
    scene.must(form.submission_id in scene.cases, f"A case was answered {status}.")
    # A clock that is ahead makes it look as if it had waited too long: then people read it at once.
    scene.expect(form.submission_id, Ending.DONE, Ending.DEAD)
    scene.until(lambda: _held(scene, form.submission_id), ENDED_SECONDS, what="no case was taken")
    for child in pool_children(scene.program("worker")):
        os.kill(child, signal.SIGKILL)
    shift.write_text(str(seconds), encoding="ascii")
    what = f"a case sent before the clock went to {seconds:+.0f} s had not ended"
    scene.until(
        lambda: ending_of(scene.row(form.submission_id)) is not None, ENDED_SECONDS, what=what
    )


def _make_epoch_older(scene: Scene) -> None:
    """The clinic's key is minutes old here; an hour ago there must have been one as well."""
    root = read_root_private(scene.installation.key_folder / ROOT_PRIVATE_FILE)
    with scene.sessions() as session, session.begin():
        epoch = keys.current_epoch(session).epoch
        older = replace(epoch, not_before=epoch.not_before - timedelta(days=1))
        row = session.get_one(EpochKeyRow, epoch.kid)
        row.signed, row.not_before = sign_epoch_key(older, root).to_json(), older.not_before


def _held(scene: Scene, case: str) -> bool:
    return scene.row(case).screening_state != ScreeningState.QUEUED


@contextmanager
def _clocks(scene: Scene) -> Iterator[Path]:
    """Every program asks a file how wrong its clock is."""
    shift = scene.installation.folder / "clock"
    shift.write_text("0", encoding="ascii")
    with ExitStack() as changed:
        for name in PROGRAMS:
            changed.enter_context(injected(scene, name, "shifted_clock", str(shift)))
        yield shift


def _code_counts(scene: Scene) -> bool:
    """Whether the dermatologist's right one-time code is accepted now."""
    person = scene.running.people[Role.DERMATOLOGIST]
    browser = PortalClient(scene.installation.base_url)
    try:
        browser.sign_in(person.email, person.password)
        page = browser.get("/second-factor")
        wait_for_fresh_code()
        code = pyotp.TOTP(person.totp_secret or "").now()
        browser.post("/second-factor", {"code": code}, page=page)
    except PortalError:
        return False
    finally:
        browser.close()
    return True


def change_the_hour(scene: Scene) -> None:
    """The programs' time zone goes an hour ahead while cases are at work."""
    change = datetime.now(UTC) + CHANGE_AFTER
    zone = {"TZ": _zone_that_changes(change)}
    with ExitStack() as changed:
        for name in PROGRAMS:
            changed.enter_context(started_with(scene, name, zone))
        scene.must(datetime.now(UTC) < change, "The programs were not up before the change.")
        scene.submit(1)
        scene.pause((change - datetime.now(UTC)).total_seconds() - 1.0)
        cases = scene.submit(2)
        scene.until(
            lambda: all(ending_of(row) for row in scene.rows(cases)),
            ENDED_SECONDS,
            what="the cases had not ended after the change of the hour",
        )


def _zone_that_changes(moment: datetime) -> str:
    """A zone in POSIX terms: UTC until this moment, an hour ahead afterwards."""
    day = (moment.replace(year=2025) - datetime(2024, 12, 31, tzinfo=UTC)).days  # no leap day
    return f"XST0XDT-1,J{day}/{moment:%H:%M:%S},J365/23:59:59"


FAULTS = (
    Fault(
        20,
        "clock jumps by an hour, both ways",
        "leases end; every case is analysed or, if it seems late, given to people;"
        " one-time codes of another hour do not count",
        jump_with_clock,
        cases_before=0,
        load_every=None,
    ),
    Fault(
        20,
        "the hour of the time zone changes",
        "nothing changes",
        change_the_hour,
    ),
)
