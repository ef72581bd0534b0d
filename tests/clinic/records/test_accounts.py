"""Accounts and signed-in browsers: how sessions, codes and links end."""

from datetime import datetime, timedelta
from functools import partial

import pytest
from sqlalchemy import select, update
from sqlalchemy.exc import IntegrityError

from clinic.access import Role
from clinic.records import accounts
from clinic.records.accounts import (
    ABSOLUTE_LIFE,
    IDLE_LIFE,
    LINK_LIFE,
    SEEN_EVERY,
    EmailTakenError,
    NewAccount,
)
from clinic.records.db import database_now
from clinic.records.models import Account, LoginSession, SignInLink
from tests.threads import at_once
from tests.world import Person, World

SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)


def sign_in(world: World, person: Person, *, second_factor: bool = True) -> str:
    with world.sessions() as session, session.begin():
        account = session.get_one(Account, person.account_id)
        return accounts.start_login(session, account, second_factor=second_factor)


def alive(world: World, token: str) -> bool:
    with world.sessions() as session, session.begin():
        return accounts.live_login(session, token) is not None


def set_back(world: World, column: str, by: timedelta) -> None:
    with world.sessions() as session, session.begin():
        moved = {column: database_now(session) - by}
        session.execute(update(LoginSession).values(moved))


def test_a_session_lives_by_its_token_alone(world: World) -> None:
    token = sign_in(world, world.alice)
    assert alive(world, token)
    assert not alive(world, token[:-1])
    assert not alive(world, "")
    with world.sessions() as session:
        (row,) = session.scalars(select(LoginSession))
    assert token not in (row.id, row.token_hash)
    assert not alive(world, row.token_hash)


@pytest.mark.parametrize("name", ["alice", "bob", "erin"])
def test_an_idle_session_ends(world: World, name: str) -> None:
    person = world.people[name]
    token = sign_in(world, person)
    set_back(world, "last_seen_at", IDLE_LIFE[person.role] - MINUTE)
    assert alive(world, token)
    set_back(world, "last_seen_at", IDLE_LIFE[person.role] + SECOND)
    assert not alive(world, token)


def test_being_seen_starts_the_idle_time_anew(world: World) -> None:
    token = sign_in(world, world.alice)
    for _ in range(3):
        set_back(world, "last_seen_at", IDLE_LIFE[Role.PATIENT] - MINUTE)
        assert alive(world, token)


def test_being_seen_is_written_once_in_a_while(world: World) -> None:
    def last_seen() -> datetime:
        with world.sessions() as session:
            return session.scalars(select(LoginSession)).one().last_seen_at

    token = sign_in(world, world.alice)
    before = last_seen()
    assert alive(world, token)
    assert last_seen() == before
    set_back(world, "last_seen_at", SEEN_EVERY)
    assert alive(world, token)
    assert last_seen() >= before
    assert all(idle > 2 * SEEN_EVERY for idle in IDLE_LIFE.values())


def test_no_session_outlives_its_absolute_end(world: World) -> None:
    token = sign_in(world, world.alice)
    with world.sessions() as session:
        (row,) = session.scalars(select(LoginSession))
    assert row.expires_at - row.created_at == ABSOLUTE_LIFE
    set_back(world, "expires_at", SECOND)
    assert not alive(world, token)


def test_signing_out_ends_one_session_and_leaves_the_other(world: World) -> None:
    one, other = sign_in(world, world.alice), sign_in(world, world.alice)
    with world.sessions() as session, session.begin():
        login = accounts.live_login(session, one)
        assert login is not None
        accounts.end_login(session, login)
    assert not alive(world, one)
    assert alive(world, other)
    with world.sessions() as session:
        assert len(accounts.logins_of(session, world.alice.account_id)) == 1


def test_a_disabled_account_ends_all_its_sessions_at_once(world: World) -> None:
    token = sign_in(world, world.bob)
    with world.sessions() as session, session.begin():
        session.get_one(Account, world.bob.account_id).disabled_at = database_now(session)
    assert not alive(world, token)


def test_staff_without_the_second_factor_are_marked_so(world: World) -> None:
    sign_in(world, world.bob, second_factor=False)
    with world.sessions() as session:
        (row,) = session.scalars(select(LoginSession))
    assert (row.second_factor_at, row.stepped_up_at) == (None, None)


def spend(world: World, step: int) -> bool:
    with world.sessions() as session, session.begin():
        account = session.get_one(Account, world.bob.account_id)
        return accounts.accept_totp_step(session, account, step)


def test_a_one_time_code_counts_once_and_never_backwards(world: World) -> None:
    assert spend(world, 100)
    assert not spend(world, 100)
    assert not spend(world, 99)
    assert spend(world, 101)


def test_of_the_same_code_sent_many_times_at_once_one_counts(world: World) -> None:
    assert sum(at_once(*[partial(spend, world, 100)] * 6)) == 1


def link(world: World) -> str:
    with world.sessions() as session, session.begin():
        return accounts.make_sign_in_link(session, session.get_one(Account, world.erin.account_id))


def use(world: World, token: str) -> str | None:
    with world.sessions() as session, session.begin():
        found = accounts.use_sign_in_link(session, token)
        return found.id if found else None


def test_a_sign_in_link_works_once(world: World) -> None:
    token = link(world)
    with world.sessions() as session:
        assert accounts.find_sign_in_link(session, token) is not None
    assert use(world, token) == world.erin.account_id
    assert use(world, token) is None
    with world.sessions() as session:
        assert accounts.find_sign_in_link(session, token) is None


def test_a_sign_in_link_works_for_one_of_many_clicks(world: World) -> None:
    answers = at_once(*[partial(use, world, link(world))] * 5)
    assert [one for one in answers if one] == [world.erin.account_id]


def test_a_sign_in_link_ends_by_itself(world: World) -> None:
    token = link(world)
    with world.sessions() as session, session.begin():
        then = database_now(session) - SECOND
        assert (
            session.get_one(SignInLink, accounts.digest(token)).expires_at
            < then + LINK_LIFE + MINUTE
        )
        session.execute(update(SignInLink).values(expires_at=then))
    assert use(world, token) is None
    assert use(world, "made up") is None


def test_an_address_belongs_to_one_account_however_it_is_written(world: World) -> None:
    new = NewAccount(world.clinic_id, Role.PATIENT, " ALICE@example.org", "hash")
    with world.sessions() as session, pytest.raises(EmailTakenError):
        accounts.create_account(session, world.secrets, new)


def test_an_account_is_found_by_its_address_which_is_nowhere_in_clear(world: World) -> None:
    with world.sessions() as session:
        found = accounts.account_by_email(session, world.secrets, "Alice@Example.org ")
        nobody = accounts.account_by_email(session, world.secrets, "mallory@example.org")
    assert found is not None
    assert found.id == world.alice.account_id
    assert b"alice" not in found.email_sealed.lower()
    assert nobody is None


def test_a_dermatologist_without_registration_is_impossible(world: World) -> None:
    new = NewAccount(world.clinic_id, Role.DERMATOLOGIST, "x@example.org", "hash", "A", "B")
    with world.sessions() as session, pytest.raises(IntegrityError, match="registration"):
        accounts.create_account(session, world.secrets, new)


def test_a_patient_s_name_in_clear_is_impossible(world: World) -> None:
    new = NewAccount(world.clinic_id, Role.PATIENT, "x@example.org", "hash", "Family", "Given")
    with world.sessions() as session, pytest.raises(IntegrityError, match="sealed_elsewhere"):
        accounts.create_account(session, world.secrets, new)


def test_record_numbers_are_random_and_readable(world: World) -> None:
    with world.sessions() as session:
        numbers = {
            patient.record_number
            for person in (world.alice, world.carol)
            if (patient := accounts.patient_of(session, person.account_id))
        }
    assert len(numbers) == 2
    for number in numbers:
        assert number.startswith("DQ-")
        assert not set(number[3:]) & set("01ILO")


def test_the_person_behind_a_session_is_the_account_s(world: World) -> None:
    for name in ("alice", "bob", "erin"):
        person = world.people[name]
        token = sign_in(world, person)
        with world.sessions() as session:
            login = accounts.live_login(session, token)
            assert login is not None
            actor = accounts.actor_of(session, login)
        assert (actor.user_id, actor.role) == (person.account_id, person.role)
        assert (actor.clinic_id, actor.patient_id) == (person.clinic_id, person.patient_id)
