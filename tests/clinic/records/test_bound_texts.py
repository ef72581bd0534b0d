"""Whoever can write to the database can move every sealed value; none opens in another place."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest
from sqlalchemy import select

from clinic.account_secrets import AccountSecretError
from clinic.envelope import CannotUnwrap, EnvelopeError, WrongContext
from clinic.keeper_protocol import ObjectKind
from clinic.records import key_rotation, sealed_objects
from clinic.records.keys import KeyDestroyedError
from clinic.records.models import Account, PatientKey, SealedObject
from tests.world import BIRTH_DATE, TOTP_SECRET, World

MOVED = ("header", "body", "body_size", "core_sha256", "body_sha256")
TEXTS = (ObjectKind.HISTORY, ObjectKind.FINDING, ObjectKind.LETTER)


@dataclass
class Cases:
    """Two signed cases of Alice and one of Carol, all under their patients' keys."""

    world: World
    first: str
    second: str
    of_carol: str

    def row(self, case: str, kind: ObjectKind) -> SealedObject:
        with self.world.sessions() as session:
            return sealed_objects.of_submission(session, case, [kind])[0]

    def identity(self, patient: str | None) -> SealedObject:
        with self.world.sessions() as session:
            found = sealed_objects.identity_of(session, patient or "")
            assert found is not None
            return found

    def open(self, object_id: str) -> bytes:
        """As the keeper and then the reader open it."""
        with self.world.sessions() as session:
            row = session.get_one(SealedObject, object_id)
            _, file_key = self.world.keeper._opened(session, row)
            return sealed_objects.open_object(row, self.world.blobs, file_key=file_key)

    def move(self, source: SealedObject, target: SealedObject, **changed: object) -> None:
        with self.world.sessions() as session, session.begin():
            row = session.get_one(SealedObject, target.id)
            for name in MOVED:
                setattr(row, name, changed.get(name, getattr(source, name)))


@pytest.fixture
def cases(world: World) -> Cases:
    found = Cases(
        world,
        world.signed(world.alice, world.bob),
        world.signed(world.alice, world.bob),
        world.signed(world.carol, world.bob),
    )
    for person in (world.alice, world.carol):
        world.keeper.settle(person.patient_id or "")
    return found


def test_each_text_opens_in_its_own_place(cases: Cases) -> None:
    for kind in TEXTS:
        assert cases.open(cases.row(cases.first, kind).id)


@pytest.mark.parametrize("kind", TEXTS)
@pytest.mark.parametrize("elsewhere", ["second", "of_carol"])
def test_a_text_that_was_moved_to_another_case_does_not_open(
    cases: Cases, kind: ObjectKind, elsewhere: str
) -> None:
    target = cases.row(getattr(cases, elsewhere), kind)
    cases.move(cases.row(cases.first, kind), target)
    with pytest.raises(WrongContext):
        cases.open(target.id)


def test_a_text_that_was_moved_to_another_kind_does_not_open(cases: Cases) -> None:
    for source, target in ((ObjectKind.FINDING, ObjectKind.LETTER), TEXTS[:2]):
        row = cases.row(cases.first, target)
        cases.move(cases.row(cases.first, source), row)
        with pytest.raises(WrongContext):
            cases.open(row.id)


def test_a_name_that_was_moved_to_another_patient_does_not_open(cases: Cases) -> None:
    target = cases.identity(cases.world.carol.patient_id)
    cases.move(cases.identity(cases.world.alice.patient_id), target)
    with pytest.raises(WrongContext):
        cases.open(target.id)


@pytest.mark.parametrize("kind", TEXTS)
def test_a_moved_text_whose_context_was_edited_to_fit_does_not_open(
    cases: Cases, kind: ObjectKind
) -> None:
    source, target = cases.row(cases.first, kind), cases.row(cases.of_carol, kind)
    core = sealed_objects.place_of(target).context.to_core()
    header = replace(sealed_objects.header_of(source), core=core)
    cases.move(source, target, header=header.to_json(), core_sha256=target.core_sha256)
    with pytest.raises(CannotUnwrap):
        cases.open(target.id)


def renamed(row: SealedObject, kid: str) -> str:
    header = sealed_objects.header_of(row)
    return header.with_recipients(replace(header.recipients[0], kid=kid)).to_json()


def test_a_text_of_an_older_key_version_does_not_open_nor_under_the_newer_name(
    cases: Cases,
) -> None:
    world, old = cases.world, cases.row(cases.first, ObjectKind.LETTER)
    with world.sessions() as session, session.begin():
        key_rotation.rotate_patient(
            session,
            world.master,
            world.auditor,
            patient_id=world.alice.patient_id or "",
            actor="test",
        )
        of_alice = select(PatientKey.kid).where(PatientKey.patient_id == world.alice.patient_id)
        newest = session.scalars(of_alice.order_by(PatientKey.version.desc())).first() or ""
    assert cases.open(old.id)
    refused: tuple[tuple[str, type[Exception]], ...] = (
        (old.header, KeyDestroyedError),
        (renamed(old, newest), CannotUnwrap),
    )
    for header, error in refused:
        cases.move(old, old, header=header)
        with pytest.raises(error):
            cases.open(old.id)


def test_a_text_under_another_patient_s_key_id_does_not_open(cases: Cases) -> None:
    row = cases.row(cases.first, ObjectKind.LETTER)
    foreign = sealed_objects.header_of(cases.row(cases.of_carol, ObjectKind.LETTER))
    cases.move(row, row, header=renamed(row, foreign.recipients[0].kid))
    with pytest.raises(EnvelopeError):
        cases.open(row.id)


# --- what belongs to accounts ---

COLUMNS: dict[str, Callable[[World], str]] = {
    "email": lambda world: world.alice.email,
    "birth_date": lambda _: BIRTH_DATE.isoformat(),
    "totp_secret": lambda _: TOTP_SECRET,
}


def sealed_values(world: World, column: str) -> dict[str, bytes]:
    """The stored values of a column, by account."""
    with world.sessions() as session:
        rows = session.scalars(select(Account)).all()
    found = {row.id: getattr(row, f"{column}_sealed") for row in rows}
    return {account: value for account, value in found.items() if value is not None}


@pytest.mark.parametrize("column", COLUMNS)
def test_an_account_s_value_opens_in_its_own_account_and_column_alone(
    world: World, column: str
) -> None:
    values = sealed_values(world, column)
    assert len(values) > 1
    opened = {
        world.secrets.unseal(value, account_id=account, column=column)
        for account, value in values.items()
    }
    assert COLUMNS[column](world) in opened
    for account, value in values.items():
        for other in set(values) - {account}:
            with pytest.raises(AccountSecretError):
                world.secrets.unseal(value, account_id=other, column=column)
        for elsewhere in set(COLUMNS) - {column}:
            with pytest.raises(AccountSecretError):
                world.secrets.unseal(value, account_id=account, column=elsewhere)
