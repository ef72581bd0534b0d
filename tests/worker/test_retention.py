"""Retention deletes what has served its time, and nothing else."""

import os
import time
from collections.abc import Callable
from datetime import timedelta

import pytest
from sqlalchemy import func, select, update
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import DeclarativeBase, Session

from clinic.access import Role
from clinic.account_secrets import AccountSecrets
from clinic.audit_event import AuditAction
from clinic.notices import NoticeKind
from clinic.one_time_link import LinkPurpose
from clinic.records import (
    accounts,
    audit_log,
    invitations,
    keys,
    known_devices,
    notices,
    one_time_links,
    passkeys,
    sealed_objects,
)
from clinic.records.db import database_now, new_id
from clinic.records.models import (
    Account,
    EpochKeyRow,
    Invitation,
    KeyRequest,
    KnownDevice,
    LoginSession,
    Notice,
    OneTimeLink,
    PasskeyChallenge,
    ProcessKey,
    SealedObject,
    SignInLink,
)
from clinic.retention import (
    EPOCH_KEYS,
    INVITATIONS,
    KEY_REQUESTS,
    KNOWN_DEVICES,
    LOGIN_SESSIONS,
    NOTICES,
    ONE_TIME_LINKS,
    ORPHAN_BODIES,
    PASSKEY_CHALLENGES,
    PROCESS_KEYS,
)
from tests.portal_tools import entries
from tests.world import World
from worker.retention import Retention, RetentionError

MINUTE = timedelta(minutes=1)


def count(world: World, table: type[DeclarativeBase]) -> int:
    with world.sessions() as session:
        return session.scalar(select(func.count()).select_from(table)) or 0


def set_back(world: World, table: type[DeclarativeBase], column: str, by: timedelta) -> None:
    with world.sessions() as session, session.begin():
        session.execute(update(table).values({column: database_now(session) - by}))


def apply(world: World) -> dict[str, int]:
    return Retention(world.sessions, world.blobs, world.auditor).apply()


def swept(world: World) -> int:
    return apply(world)["orphaned bodies"]


def grow_old(world: World, object_id: str) -> None:
    then = time.time() - ORPHAN_BODIES.total_seconds() - 60
    os.utime(next(world.blobs.folder.rglob(object_id)), (then, then))


def test_an_orphaned_body_is_swept_once_it_is_old(world: World) -> None:
    orphan = new_id()
    world.blobs.put(orphan, b"an upload whose row was never committed")

    assert swept(world) == 0
    grow_old(world, orphan)
    assert swept(world) == 1
    assert swept(world) == 0
    assert list(world.blobs.ids(older_than=time.time() + 60)) == []


def test_an_epoch_key_ends_once_nobody_needs_it_and_the_audit_names_it(world: World) -> None:
    with world.sessions() as session:
        (kid,) = session.scalars(select(EpochKeyRow.kid))
    set_back(world, EpochKeyRow, "not_after", EPOCH_KEYS + MINUTE)
    assert apply(world)["epoch keys"] == 0

    for person in (world.alice, world.carol):
        world.keeper.settle(person.patient_id or "")
    set_back(world, EpochKeyRow, "not_after", EPOCH_KEYS - MINUTE)
    assert apply(world)["epoch keys"] == 0
    set_back(world, EpochKeyRow, "not_after", EPOCH_KEYS + MINUTE)
    assert apply(world)["epoch keys"] == 1

    with world.sessions() as session:
        assert session.get_one(EpochKeyRow, kid).private_wrapped is None
    (entry,) = entries(world, AuditAction.EPOCH_KEY_DESTROYED)
    assert (entry.actor, entry.detail) == ("retention", kid)


def test_a_half_written_body_goes_with_the_orphans(world: World) -> None:
    folder = world.blobs.folder / "aa" / "aa"
    folder.mkdir(parents=True, exist_ok=True)
    unfinished = folder / f".{'a' * 32}.0123abcd"
    unfinished.write_bytes(b"half")
    os.utime(unfinished, (0, 0))

    apply(world)

    assert not unfinished.exists()


def test_a_body_with_a_row_is_kept_however_old_it_is(world: World) -> None:
    world.screened(world.alice)
    with world.sessions() as session:
        bodies = list(session.scalars(select(SealedObject.id).where(SealedObject.body.is_(None))))
    for one in bodies:
        grow_old(world, one)

    assert swept(world) == 0

    with world.sessions() as session:
        for one in bodies:
            assert sealed_objects.ciphertext(session.get_one(SealedObject, one), world.blobs)


@pytest.mark.parametrize(("age", "left"), [(KEY_REQUESTS - MINUTE, 1), (KEY_REQUESTS + MINUTE, 0)])
def test_key_requests_are_kept_while_the_hourly_cap_counts_them(
    world: World, age: timedelta, left: int
) -> None:
    world.screened(world.alice)
    set_back(world, KeyRequest, "created_at", age)
    apply(world)
    assert count(world, KeyRequest) == left


@pytest.mark.parametrize(("age", "left"), [(-MINUTE, 1), (MINUTE, 0)])
def test_expired_sign_in_links_go(world: World, age: timedelta, left: int) -> None:
    with world.sessions() as session, session.begin():
        account = session.get_one(Account, world.alice.account_id)
        accounts.make_sign_in_link(session, account)
    set_back(world, SignInLink, "expires_at", age)
    apply(world)
    assert count(world, SignInLink) == left


@pytest.mark.parametrize(
    ("age", "left"), [(LOGIN_SESSIONS - MINUTE, 1), (LOGIN_SESSIONS + MINUTE, 0)]
)
def test_login_sessions_go_some_days_after_their_end(
    world: World, age: timedelta, left: int
) -> None:
    with world.sessions() as session, session.begin():
        account = session.get_one(Account, world.alice.account_id)
        accounts.start_login(session, account, second_factor=False)
    set_back(world, LoginSession, "expires_at", age)
    apply(world)
    assert count(world, LoginSession) == left


@pytest.mark.parametrize(
    ("program", "age", "left"),
    [
        ("worker", PROCESS_KEYS - MINUTE, 1),
        ("worker", PROCESS_KEYS + MINUTE, 0),
        ("export", PROCESS_KEYS + MINUTE, 0),
        ("web", PROCESS_KEYS + MINUTE, 1),  # it gives no sign of life and may still run
    ],
)
def test_process_keys_go_when_the_process_is_long_gone(
    world: World, program: str, age: timedelta, left: int
) -> None:
    with world.sessions() as session, session.begin():
        keys.enrol_process(session, world.enrolment_key, program=program)
    set_back(world, ProcessKey, "last_seen_at", age)
    apply(world)
    assert count(world, ProcessKey) == left


def of_alice(world: World, make: Callable[[Session, Account], object]) -> None:
    with world.sessions() as session, session.begin():
        make(session, session.get_one(Account, world.alice.account_id))


def a_mailed_link(session: Session, account: Account) -> None:
    box = AccountSecrets(b"s" * 32)
    one_time_links.make(session, box, LinkPurpose.PASSWORD_RESET, account_id=account.id, email=None)


IDENTITY_ROWS = [
    (
        PasskeyChallenge,
        "expires_at",
        PASSKEY_CHALLENGES,
        lambda session, account: passkeys.new_challenge(session, account.id),
    ),
    (OneTimeLink, "expires_at", ONE_TIME_LINKS, a_mailed_link),
    (
        Invitation,
        "expires_at",
        INVITATIONS,
        lambda session, account: invitations.invite(
            session, clinic_id=account.clinic_id, role=Role.DERMATOLOGIST
        ),
    ),
    (
        KnownDevice,
        "last_seen_at",
        KNOWN_DEVICES,
        lambda session, account: known_devices.remember(session, account, None),
    ),
    (
        Notice,
        "created_at",
        NOTICES,
        lambda session, account: notices.tell(session, account, NoticeKind.NEW_DEVICE),
    ),
]


@pytest.mark.parametrize(("table", "column", "period", "make"), IDENTITY_ROWS)
def test_what_signing_in_leaves_behind_goes_after_its_time(
    world: World,
    table: type[DeclarativeBase],
    column: str,
    period: timedelta,
    make: Callable[[Session, Account], object],
) -> None:
    of_alice(world, make)
    set_back(world, table, column, period - MINUTE)
    apply(world)
    assert count(world, table) == 1

    set_back(world, table, column, period + MINUTE)
    apply(world)
    assert count(world, table) == 0


def test_each_rule_that_deleted_something_is_one_audit_entry(world: World) -> None:
    world.screened(world.alice)
    requests = count(world, KeyRequest)
    set_back(world, KeyRequest, "created_at", KEY_REQUESTS + MINUTE)

    assert apply(world)["key requests"] == requests
    apply(world)

    found = [one.detail for one in entries(world, AuditAction.RETENTION_APPLIED)]
    assert found == [f"{requests} key requests deleted"]


def test_the_audit_chain_of_seven_years_ago_stays_whole(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """HIPAA asks for six years (45 CFR 164.316(b)(2))."""
    now = audit_log.database_now
    with monkeypatch.context() as years_ago:
        years_ago.setattr(audit_log, "database_now", lambda one: now(one) - timedelta(days=7 * 366))
        world.screened(world.alice)
    before = [(one.sequence, one.mac) for one in entries(world, AuditAction.SUBMISSION_SCREENED)]
    world.screened(world.carol)

    apply(world)

    after = [(one.sequence, one.mac) for one in entries(world, AuditAction.SUBMISSION_SCREENED)]
    assert (len(before), after[:1]) == (1, before)
    with world.sessions() as session:
        assert audit_log.verify(session, world.auditor.key) is None


def test_a_rule_that_fails_is_named_and_stops_no_other(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.screened(world.alice)
    set_back(world, KeyRequest, "created_at", KEY_REQUESTS + MINUTE)
    orphan = new_id()
    world.blobs.put(orphan, b"x")
    grow_old(world, orphan)

    def broken(_: object) -> None:
        raise OperationalError("DELETE", {}, Exception("the disk is full"))

    monkeypatch.setattr("worker.retention._old_sign_in_links", broken)
    with pytest.raises(RetentionError) as failed:
        apply(world)

    (fault,) = failed.value.exceptions
    assert fault.__notes__ == ["The retention rule for sign-in links was not applied."]
    assert count(world, KeyRequest) == 0
    assert list(world.blobs.ids(older_than=time.time() - 60)) == []
