"""Faults of the records: consent withdrawn in mid-work, two versions at work on the same rows."""

import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from clinic.records.models import ScreeningResult
from tools import installation as setup
from tools.chaos.fault import Fault
from tools.chaos.injection import start_again, stop
from tools.chaos.processes import frozen, kill_group
from tools.chaos.scene import Scene, ending_of
from tools.installation import ROOT

ENDED_SECONDS = 90.0
# The last version before the tables got a column for the engine and claims came in batches.
EARLIER_VERSION = "4e9988eeb"


def withdraw_consent_in_queue(scene: Scene) -> None:
    """A patient withdraws the consent to the computer while the case waits for a worker."""
    patient = scene.newcomer()
    with frozen(scene.program("worker")):
        form = scene.form_of(patient)
        scene.post(patient, form)
        account = patient.get("/account")
        patient.post("/account/consents", {}, page=account)
    case = form.submission_id
    scene.until(
        lambda: ending_of(scene.row(case)) is not None, ENDED_SECONDS, what="the case had not ended"
    )
    with scene.sessions() as session:
        used = session.get_one(ScreeningResult, case).ai_used
    scene.must(not used, "The computer judged a case after the patient had withdrawn consent.")
    scene.forget(case)  # the standing checks expect the computer's view of a finished case


def work_in_two_versions(scene: Scene) -> None:
    """An earlier version's worker on the newest tables: alone, then beside this version's."""
    earlier = scene.installation.folder / "earlier"
    _check_out(EARLIER_VERSION, earlier)
    ours = scene.program("worker")
    stop(ours)
    ours.given_up = True  # so that the supervisor leaves it down
    twin = next(one for one in setup.programs(scene.installation) if one.name == "worker")
    old = replace(
        twin,
        name="earlier worker",
        cwd=earlier,
        env={**twin.env, "PYTHONPATH": str(earlier)},
    )
    scene.running.supervisor.start(old)
    try:
        _all_done(scene, scene.submit(2))
        start_again(scene, "worker")
        _all_done(scene, scene.submit(4))
    finally:
        scene.running.supervisor.programs.remove(old)
        kill_group(old)
        shutil.rmtree(earlier)
    scene.must(old.starts == 1, f"The earlier version's worker was started {old.starts} times.")
    _all_done(scene, scene.submit(1))


def _check_out(commit: str, target: Path) -> None:
    target.mkdir()
    archive = subprocess.run(
        ["git", "archive", commit, "clinic", "worker", "ml", "config.py", ":!ml/weights"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    subprocess.run(["tar", "-x", "-C", str(target)], input=archive.stdout, check=True)


def _all_done(scene: Scene, cases: Sequence[str]) -> None:
    scene.until(
        lambda: all(ending_of(row) for row in scene.rows(list(cases))),
        ENDED_SECONDS,
        what="the cases had not ended with two versions at work",
    )


def has_history() -> bool:
    """Whether the earlier version can be had here: a clone with its history."""
    found = subprocess.run(
        ["git", "cat-file", "-e", EARLIER_VERSION], cwd=ROOT, capture_output=True, check=False
    )
    return found.returncode == 0


_TWO_VERSIONS = Fault(
    26,
    "an earlier version's worker at work",
    "both do their cases; the old one's rows are read by the new one",
    work_in_two_versions,
    load_every=None,
)
FAULTS = (
    Fault(
        24,
        "consent withdrawn in the queue",
        "the computer does not judge the case",
        withdraw_consent_in_queue,
    ),
    *((_TWO_VERSIONS,) if has_history() else ()),
)
