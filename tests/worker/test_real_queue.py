"""The real programs as processes, over a real broker: whatever dies, each case ends once."""

import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import redis
from sqlalchemy import func, select

from clinic.access import Role
from clinic.audit_event import AuditAction
from clinic.hints import INFERENCE_QUEUE, KEYS_QUEUE
from clinic.keeper_protocol import ObjectKind
from clinic.records import accounts, audit_log, sealed_objects, submissions
from clinic.records.blob_folder import FolderBlobStore
from clinic.records.models import AuditEntry, ScreeningResult, Submission
from clinic.submission import CaseState, ScreeningState
from tests.bundles import small_bundle
from tests.world import FAST_HASHER, Passwords, Person, World
from tools.chaos.processes import pool_children
from tools.installation import Installation, prepare, programs
from tools.ports import free_port
from tools.postgres import PostgresServer
from tools.supervisor import Program, Supervisor

pytestmark = pytest.mark.broker

LEASE_SECONDS = 5
PATIENCE = 60.0
PROGRAMS = ("broker", "keeper", "worker", "relay", "reconciler")


@dataclass(frozen=True)
class QuickInstallation(Installation):
    """An installation with short leases, on any database."""

    database: str | None = None

    def environment(self) -> dict[str, str]:
        changed = {"DERMQUEUE_LEASE_SECONDS": str(LEASE_SECONDS)}
        if self.database is not None:
            changed["DERMQUEUE_DATABASE_URL"] = self.database
        return {**super().environment(), **changed}


@dataclass
class System:
    """A running installation, and the patient who sends cases."""

    installation: QuickInstallation
    supervisor: Supervisor
    world: World
    patient: Person

    def program(self, name: str) -> Program:
        return next(one for one in self.supervisor.programs if one.name == name)

    def submit(self, count: int) -> list[str]:
        return [self.world.submit(self.patient) for _ in range(count)]

    def until(self, condition: Callable[[], bool], *, what: str) -> None:
        """Wait while the supervisor watches, as the demo does."""
        give_up_at = time.monotonic() + PATIENCE
        while not condition():
            self.supervisor.watch()
            assert time.monotonic() < give_up_at, f"{what}:\n{self.logs()}"
            time.sleep(0.05)

    def logs(self) -> str:
        return "\n".join(
            f"--- {one.name}\n" + one.log.read_text(encoding="utf-8", errors="replace")[-2500:]
            for one in self.supervisor.programs
        )

    def rows(self, cases: list[str]) -> list[Submission]:
        with self.world.sessions() as session:
            return list(session.scalars(select(Submission).where(Submission.id.in_(cases))))

    def states(self, cases: list[str]) -> list[tuple[str, str]]:
        return [(row.screening_state, row.case_state) for row in self.rows(cases)]

    def all_analysed(self, cases: list[str]) -> Callable[[], bool]:
        done = (ScreeningState.DONE, CaseState.AWAITING_REVIEW)
        return lambda: self.states(cases) == [done] * len(cases)

    def broker(self) -> "redis.Redis":
        return redis.Redis(port=self.installation.broker_port)


@contextmanager
def running(installation: QuickInstallation) -> Iterator[System]:
    supervisor = Supervisor()
    try:
        yield started(installation, supervisor)
    finally:
        supervisor.stop()
        installation.engine.dispose()


def started(installation: QuickInstallation, supervisor: Supervisor) -> System:
    small_bundle(installation.weights)
    people = prepare(installation)
    for program in programs(installation):
        if program.name in PROGRAMS:
            supervisor.start(program)
    sessions, settings = installation.sessions(), installation.settings()
    email = next(one.email for one in people if one.role is Role.PATIENT)
    with sessions() as session:
        account = accounts.account_by_email(session, installation.account_secrets(), email)
        assert account is not None
        record = accounts.patient_of(session, account.id)
        assert record is not None
        patient = Person(account.id, Role.PATIENT, email, account.clinic_id, record.id)
    world = World(
        sessions=sessions,
        blobs=FolderBlobStore(settings.blob_dir),
        keeper=None,  # type: ignore[arg-type] # the keeper is a process of its own here
        hints=None,  # type: ignore[arg-type]
        auditor=installation.auditor(),
        secrets=installation.account_secrets(),
        passwords=Passwords.using(FAST_HASHER),
        root_public_key=settings.root_public_key or b"",
        enrolment_key=b"",
        root_private=None,  # type: ignore[arg-type]
        master=None,  # type: ignore[arg-type]
        folder=installation.folder,
    )
    return System(installation, supervisor, world, patient)


def new_installation(folder: Path, database: str | None = None) -> QuickInstallation:
    return QuickInstallation(
        folder / "a clinic", free_port(), free_port(), folder / "weights", database
    )


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    with running(new_installation(tmp_path_factory.mktemp("queue"))) as system:
        yield system


def assert_each_ended_once(system: System, cases: list[str]) -> None:
    with system.world.sessions() as session:
        for case in cases:
            results = select(func.count()).where(ScreeningResult.submission_id == case)
            assert session.scalar(results) == 1
            entries = select(func.count()).where(
                AuditEntry.submission_id == case,
                AuditEntry.action == AuditAction.SUBMISSION_SCREENED,
            )
            assert session.scalar(entries) == 1
            for kind, pictures in ((ObjectKind.RENDITION, 1), (ObjectKind.HEATMAP, 2)):
                assert len(sealed_objects.of_submission(session, case, [kind])) == pictures
        assert audit_log.verify(session, system.world.auditor.key) is None


def test_three_cases_are_analysed_once_each(system: System) -> None:
    cases = system.submit(3)

    system.until(system.all_analysed(cases), what="the cases were not analysed")

    assert_each_ended_once(system, cases)
    with system.world.sessions() as session:
        result = session.get_one(ScreeningResult, cases[0])
    assert result.model_version == "test-1"
    assert set(result.stage_seconds) == {"open", "decode", "analyse", "seal"}


def test_the_keeper_settles_the_objects_under_the_patient_s_key(system: System) -> None:
    (case,) = system.submit(1)

    def settled() -> bool:
        with system.world.sessions() as session:
            rows = sealed_objects.of_submission(session, case, ObjectKind)
        return len(rows) == 5 and all(row.settled for row in rows)

    system.until(settled, what="the objects were not settled")


def test_a_worker_killed_in_the_middle_leaves_one_result(system: System) -> None:
    cases = system.submit(2)

    def running() -> bool:
        return any(state == ScreeningState.RUNNING for state, _ in system.states(cases))

    system.until(running, what="no case was taken")
    (child,) = pool_children(system.program("worker"))
    os.kill(child, signal.SIGKILL)

    system.until(system.all_analysed(cases), what="the cases were not analysed")
    assert_each_ended_once(system, cases)
    with system.world.sessions() as session:
        attempts = [row.attempt for case in cases if (row := submissions.find(session, case))]
    assert max(attempts) == 2


def test_a_worker_whose_child_is_frozen_is_noticed_and_starts_again(system: System) -> None:
    worker = system.program("worker")
    before = worker.starts
    (child,) = pool_children(worker)
    os.kill(child, signal.SIGSTOP)
    cases = system.submit(2)

    system.until(system.all_analysed(cases), what="nobody noticed the frozen child")

    assert worker.starts == before + 1
    assert_each_ended_once(system, cases)
    assert not Path(f"/proc/{child}").exists()


def test_a_worker_that_is_told_to_stop_finishes_or_puts_back(system: System) -> None:
    worker = system.program("worker")
    before = worker.starts
    cases = system.submit(24)

    def some_are_done() -> bool:
        return ScreeningState.DONE in {state for state, _ in system.states(cases)}

    system.until(some_are_done, what="no case was analysed")
    assert worker.process is not None
    worker.process.send_signal(signal.SIGTERM)
    assert worker.process.wait(timeout=30) == 0

    states = {state for state, _ in system.states(cases)}
    assert states == {ScreeningState.DONE, ScreeningState.QUEUED}
    system.until(system.all_analysed(cases), what="the cases were not analysed")
    assert worker.starts == before + 1
    assert_each_ended_once(system, cases)
    assert {row.attempt for row in system.rows(cases)} == {1}


def test_a_broker_that_comes_back_empty_loses_no_case(system: System) -> None:
    broker = system.program("broker")
    starts = broker.starts
    assert broker.process is not None
    broker.process.kill()
    broker.process.wait()
    for path in (system.installation.folder / "broker").iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    cases = system.submit(3)

    system.until(system.all_analysed(cases), what="the cases were not analysed")

    assert broker.starts == starts + 1
    assert_each_ended_once(system, cases)


def test_garbage_in_the_queues_stops_nothing_for_long(system: System) -> None:
    keeper, worker = system.program("keeper"), system.program("worker")
    before = keeper.starts, worker.starts
    with system.broker() as broker:
        broker.lpush(KEYS_QUEUE, b"\x80\x04not json")
        broker.lpush(INFERENCE_QUEUE, b"\x80\x04not json")
    system.until(
        lambda: keeper.starts > before[0] and worker.starts > before[1],
        what="garbage did not even stop a program",
    )
    cases = system.submit(2)

    system.until(system.all_analysed(cases), what="the cases were not analysed")

    assert_each_ended_once(system, cases)


@pytest.mark.postgres
def test_the_same_programs_work_over_postgresql(tmp_path: Path, postgres: PostgresServer) -> None:
    with running(new_installation(tmp_path, postgres.fresh_database())) as system:
        cases = system.submit(3)
        system.until(system.all_analysed(cases), what="the cases were not analysed")
        assert_each_ended_once(system, cases)
