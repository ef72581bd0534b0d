"""Housekeeping deletes what has served its time, and nothing else."""

import os
import time
from datetime import timedelta

import pytest
from sqlalchemy import func, select, update
from sqlalchemy.orm import DeclarativeBase

from clinic.records import accounts, sealed_objects
from clinic.records.db import database_now, new_id
from clinic.records.models import Account, KeyRequest, LoginSession, SealedObject, SignInLink
from tests.world import World
from worker.purge import KEEP_KEY_REQUESTS, KEEP_LOGIN_SESSIONS, ORPHAN_AGE_SECONDS, purge_expired

MINUTE = timedelta(minutes=1)


def count(world: World, table: type[DeclarativeBase]) -> int:
    with world.sessions() as session:
        return session.scalar(select(func.count()).select_from(table)) or 0


def set_back(world: World, table: type[DeclarativeBase], column: str, by: timedelta) -> None:
    with world.sessions() as session, session.begin():
        session.execute(update(table).values({column: database_now(session) - by}))


def purge(world: World) -> int:
    return purge_expired(world.sessions, world.blobs)


def grow_old(world: World, object_id: str) -> None:
    then = time.time() - ORPHAN_AGE_SECONDS - 60
    os.utime(next(world.blobs.folder.rglob(object_id)), (then, then))


def test_an_orphaned_body_is_swept_once_it_is_old(world: World) -> None:
    orphan = new_id()
    world.blobs.put(orphan, b"an upload whose row was never committed")

    assert purge(world) == 0
    grow_old(world, orphan)
    assert purge(world) == 1
    assert purge(world) == 0
    assert list(world.blobs.ids(older_than=time.time() + 60)) == []


def test_a_half_written_body_goes_with_the_orphans(world: World) -> None:
    folder = world.blobs.folder / "aa" / "aa"
    folder.mkdir(parents=True, exist_ok=True)
    unfinished = folder / f".{'a' * 32}.0123abcd"
    unfinished.write_bytes(b"half")
    os.utime(unfinished, (0, 0))

    purge_expired(world.sessions, world.blobs)

    assert not unfinished.exists()


def test_a_body_with_a_row_is_kept_however_old_it_is(world: World) -> None:
    world.screened(world.alice)
    with world.sessions() as session:
        bodies = list(session.scalars(select(SealedObject.id).where(SealedObject.body.is_(None))))
    for one in bodies:
        grow_old(world, one)

    assert purge(world) == 0

    with world.sessions() as session:
        for one in bodies:
            assert sealed_objects.ciphertext(session.get_one(SealedObject, one), world.blobs)


@pytest.mark.parametrize(
    ("age", "left"), [(KEEP_KEY_REQUESTS - MINUTE, 1), (KEEP_KEY_REQUESTS + MINUTE, 0)]
)
def test_key_requests_are_kept_while_the_hourly_cap_counts_them(
    world: World, age: timedelta, left: int
) -> None:
    world.screened(world.alice)
    set_back(world, KeyRequest, "created_at", age)
    purge(world)
    assert count(world, KeyRequest) == left


@pytest.mark.parametrize(("age", "left"), [(-MINUTE, 1), (MINUTE, 0)])
def test_expired_sign_in_links_go(world: World, age: timedelta, left: int) -> None:
    with world.sessions() as session, session.begin():
        account = session.get_one(Account, world.alice.account_id)
        accounts.make_sign_in_link(session, account)
    set_back(world, SignInLink, "expires_at", age)
    purge(world)
    assert count(world, SignInLink) == left


@pytest.mark.parametrize(
    ("age", "left"), [(KEEP_LOGIN_SESSIONS - MINUTE, 1), (KEEP_LOGIN_SESSIONS + MINUTE, 0)]
)
def test_login_sessions_go_some_days_after_their_end(
    world: World, age: timedelta, left: int
) -> None:
    with world.sessions() as session, session.begin():
        account = session.get_one(Account, world.alice.account_id)
        accounts.start_login(session, account, second_factor=False)
    set_back(world, LoginSession, "expires_at", age)
    purge(world)
    assert count(world, LoginSession) == left
