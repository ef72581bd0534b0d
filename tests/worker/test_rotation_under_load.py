"""Keys are exchanged while people read: the real keeper, over a real broker, fails no view."""

import base64
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from sqlalchemy import select

from clinic.hints import CeleryHints
from clinic.keeper_protocol import KeyPurpose, ObjectKind
from clinic.key_files import add_master_key, retire_master_keys
from clinic.master_key import LocalMasterKey, MasterKeyError, read_master_key
from clinic.records import accounts, key_rotation, keys, sealed_objects, stored_keys
from clinic.records.keeper_client import KeeperClient
from clinic.records.key_requests import NewKeyRequest
from clinic.records.models import Account, EpochKeyRow, PatientKey, SealedObject
from tests.sources import ROOT
from tests.world import Person, World
from tools.supervisor import Program, Supervisor

pytestmark = pytest.mark.broker

READERS = 3
SOME = 5  # views of each reader before, between and after the steps
PATIENCE = 60.0


@pytest.fixture
def master_file(world: World, tmp_path: Path) -> Path:
    path = tmp_path / "master.key"
    path.write_bytes(world.master.key)
    path.chmod(0o400)
    return path


@pytest.fixture
def keeper(
    world: World, database_url: str, broker_url: str, master_file: Path, tmp_path: Path
) -> Iterator[Program]:
    """The keeper as a process of its own."""
    secrets = {"AUDIT_KEY": world.auditor.key, "ENROLMENT_KEY": world.enrolment_key}
    for name, content in secrets.items():
        (tmp_path / name).write_bytes(base64.b64encode(content))
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("DERMQUEUE_")},
        **{f"DERMQUEUE_{name}_FILE": str(tmp_path / name) for name in secrets},
        "DERMQUEUE_ENVIRONMENT": "test",
        "DERMQUEUE_DATABASE_URL": database_url,
        "DERMQUEUE_BROKER_URL": broker_url,
        "DERMQUEUE_MASTER_KEY_FILE": str(master_file),
    }
    command = [sys.executable, "-m", "worker", "keeper"]
    program = Program("keeper", command, environment, ROOT, tmp_path / "keeper.log")
    supervisor = Supervisor()
    supervisor.start(program)
    yield program
    supervisor.stop()


@dataclass
class Reading:
    """Readers who open the signed letter again and again, each in a session of their own."""

    world: World
    broker_url: str
    case: str
    person: Person
    views: list[int] = field(default_factory=lambda: [0] * READERS)
    stop: threading.Event = field(default_factory=threading.Event)

    def run(self, reader: int) -> None:
        with self.world.sessions() as session, session.begin():
            identity = keys.enrol_process(session, self.world.enrolment_key, program="web")
            account = session.get_one(Account, self.person.account_id)
            token = accounts.start_login(session, account, second_factor=True)
            login = accounts.live_login(session, token)
            assert login is not None
            (letter,) = sealed_objects.of_submission(session, self.case, [ObjectKind.LETTER])
        client = KeeperClient(
            self.world.sessions, CeleryHints(self.broker_url), identity, patience_seconds=PATIENCE
        )
        wanted = NewKeyRequest(
            KeyPurpose.TEXT, (letter.id,), b"", login_session_id=login.id, submission_id=self.case
        )
        while not self.stop.is_set():
            file_key = client.file_keys(wanted)[letter.id]
            with self.world.sessions() as session:
                row = session.get_one(SealedObject, letter.id)
            text = sealed_objects.open_object(row, self.world.blobs, file_key=file_key)
            assert text == b"This spot is harmless."
            self.views[reader] += 1

    def some_more(self, failed: Callable[[], bool]) -> None:
        """Until every reader has read some times more, or one has failed."""
        wanted = [count + SOME for count in self.views]
        give_up_at = time.monotonic() + PATIENCE
        while not failed() and any(
            count < least for count, least in zip(self.views, wanted, strict=True)
        ):
            assert time.monotonic() < give_up_at, "nobody reads"
            time.sleep(0.02)


def test_master_key_and_patient_s_key_are_exchanged_without_a_failed_view(
    world: World, broker_url: str, keeper: Program, master_file: Path
) -> None:
    case = world.signed(world.alice, world.bob)
    patient = world.alice.patient_id or ""
    world.keeper.settle(patient)
    with world.sessions() as session, session.begin():
        for n in range(stored_keys.BATCH):
            keys.patient_key(session, world.master, f"{n:032x}")
    reading = Reading(world, broker_url, case, world.alice)

    with ThreadPoolExecutor(READERS) as pool:
        readers = [pool.submit(reading.run, number) for number in range(READERS)]

        def some_more() -> None:
            reading.some_more(lambda: any(one.done() for one in readers))

        try:
            some_more()
            add_master_key(master_file)
            some_more()
            both = read_master_key(master_file)
            key_rotation.rotate_master(world.sessions, both, world.auditor, actor="test")
            some_more()
            with world.sessions() as session, session.begin():
                key_rotation.rotate_patient(
                    session, both, world.auditor, patient_id=patient, actor="test"
                )
            some_more()
            key_rotation.retire_master(
                world.sessions,
                both,
                world.auditor,
                drop=lambda: retire_master_keys(master_file),
                actor="test",
            )
            some_more()
        finally:
            reading.stop.set()
        for one in readers:
            one.result()

    assert min(reading.views) >= 5 * SOME
    assert keeper.starts == 1
    assert opened_by(world, world.master) == 0
    assert opened_by(world, read_master_key(master_file)) == stored_keys.BATCH + 2


def opened_by(world: World, master: LocalMasterKey) -> int:
    """How many stored keys this master key opens."""
    opened = 0
    with world.sessions() as session:
        found = [(row.kid, row.private_wrapped) for row in session.scalars(select(EpochKeyRow))]
        found += [(row.kid, row.wrapped) for row in session.scalars(select(PatientKey))]
    for kid, wrapped in found:
        try:
            opened += len(master.unwrap(wrapped or b"", context=kid)) == 32
        except MasterKeyError:
            continue
    return opened
