"""A demo installation: made once, used again, with nothing fixed and nothing elsewhere."""

import json
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from sqlalchemy import func, select

from clinic.access import Role
from clinic.passwords import Passwords
from clinic.records import accounts, audit_log, keys
from clinic.records.models import Account, Clinic, EpochKeyRow
from tools.installation import (
    DEMO_ROLES,
    DemoPerson,
    Installation,
    prepare,
    programs,
    register_ehr_client,
    sign_in_links,
)
from tools.ports import PortInUseError, free_port, refuse_port_in_use
from tools.supervisor import Supervisor


def installation_in(folder: Path) -> Installation:
    return Installation(folder / "my demo", free_port(), free_port(), folder / "weights")


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    one = installation_in(tmp_path_factory.mktemp("a folder"))
    yield one
    one.engine.dispose()


@pytest.fixture(scope="module")
def people(installation: Installation) -> list[DemoPerson]:
    return prepare(installation)


def test_each_role_has_a_person_who_can_sign_in(
    installation: Installation, people: list[DemoPerson]
) -> None:
    assert {person.role for person in people} == set(Role)
    for person in people:
        with installation.sessions()() as session:
            account = accounts.account_by_email(
                session, installation.account_secrets(), person.email
            )
        assert account is not None
        assert Passwords.standard().matches(account.password_hash, person.password)
        assert (person.totp_secret is None) == (person.role is Role.PATIENT)


def test_a_folder_with_a_space_is_a_folder_like_any_other(
    installation: Installation, people: list[DemoPerson]
) -> None:
    assert people
    assert " " in str(installation.folder)
    assert (installation.folder / "dermqueue.db").is_file()
    with installation.sessions()() as session:
        assert keys.current_epoch(session)
        assert audit_log.verify(session, installation.auditor().key) is None


def test_what_is_secret_is_readable_by_its_owner_alone(
    installation: Installation, people: list[DemoPerson]
) -> None:
    assert people
    secret = [installation.folder / "people.json", *installation.key_folder.iterdir()]
    for path in (installation.folder, *secret):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0


def test_a_second_start_uses_what_is_there(
    installation: Installation, people: list[DemoPerson]
) -> None:
    key_files = {path.name: path.read_bytes() for path in installation.key_folder.iterdir()}

    assert prepare(installation) == people

    assert {path.name: path.read_bytes() for path in installation.key_folder.iterdir()} == key_files
    with installation.sessions()() as session:
        for table, count in ((Clinic, 1), (Account, len(DEMO_ROLES)), (EpochKeyRow, 1)):
            assert session.scalar(select(func.count()).select_from(table)) == count


def test_no_two_installations_share_a_secret(
    installation: Installation, people: list[DemoPerson], tmp_path: Path
) -> None:
    other = installation_in(tmp_path)
    strangers = prepare(other)
    other.engine.dispose()

    def secrets(one: Installation, persons: list[DemoPerson]) -> set[object]:
        files = {path.read_bytes() for path in one.key_folder.iterdir()}
        return files | {x for p in persons for x in (p.email, p.password, p.totp_secret) if x}

    assert not secrets(installation, people) & secrets(other, strangers)
    assert all(len(person.password) >= 16 for person in people)


def test_a_sign_in_link_works_once(installation: Installation, people: list[DemoPerson]) -> None:
    links = sign_in_links(installation, people)

    assert set(links) == set(Role)
    for role, link in links.items():
        assert link.startswith(f"{installation.public_url}/sign-in-link/")
        token = link.rpartition("/")[2]
        with installation.sessions()() as session, session.begin():
            account = accounts.use_sign_in_link(session, token)
            assert account is not None
            assert account.role == role
            assert accounts.use_sign_in_link(session, token) is None


def test_no_setting_of_another_installation_flows_in(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DERMQUEUE_SNOMED", "off")
    monkeypatch.setenv("DERMQUEUE_DATABASE_URL", "postgresql+psycopg://clinic/real")
    environment = installation.environment()
    assert "DERMQUEUE_SNOMED" not in environment
    assert str(installation.folder) in environment["DERMQUEUE_DATABASE_URL"]


def test_no_secret_stands_in_a_process_s_environment_or_command(
    installation: Installation, people: list[DemoPerson]
) -> None:
    secrets = [person.password for person in people]
    secrets += [p.read_text(encoding="latin-1") for p in installation.key_folder.glob("*.key")]
    for program in programs(installation):
        shown = json.dumps([list(program.command), dict(program.env)])
        assert not [one for one in secrets if one in shown]


def test_everything_that_runs_writes_into_the_folder(installation: Installation) -> None:
    names = [program.name for program in programs(installation)]
    assert names == ["broker", "keeper", "worker", "relay", "reconciler", "web"]
    for program in programs(installation):
        assert program.log.is_relative_to(installation.folder)


def test_further_workers_do_the_same_and_log_apart(installation: Installation) -> None:
    workers = [one for one in programs(installation, workers=3) if "inference" in one.command]
    assert [one.name for one in workers] == ["worker", "worker-2", "worker-3"]
    assert len({one.log for one in workers}) == 3
    assert len({tuple(one.command) for one in workers}) == 1


def test_an_ehr_client_gets_a_token_of_its_own(
    installation: Installation, people: list[DemoPerson]
) -> None:
    assert people
    assert register_ehr_client(installation) != register_ehr_client(installation)


@pytest.mark.broker
def test_broker_and_portal_start_from_a_folder_with_a_space(
    installation: Installation, people: list[DemoPerson]
) -> None:
    assert people
    supervisor = Supervisor()
    try:
        for program in programs(installation):
            if program.name in {"broker", "web"}:
                supervisor.start(program)
        answer = httpx.HTTPTransport(retries=8)
        with httpx.Client(transport=answer, trust_env=False) as client:
            found = client.get(f"{installation.base_url}/readyz", timeout=20)
        assert found.json() == {
            "ready": True,
            "database": True,
            "migrations": True,
            "clinic_key": True,
            "next_clinic_key": False,
            "worker": False,
        }
    finally:
        supervisor.stop()


def test_a_port_in_use_is_refused_by_its_number() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(PortInUseError, match=f"Port {port} is in use"):
            refuse_port_in_use(port)
    refuse_port_in_use(port)
