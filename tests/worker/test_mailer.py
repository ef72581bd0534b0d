"""The mailer: every notice leaves once, late if it must; no mail says more than it has to."""

import re
from datetime import timedelta

import pytest
from sqlalchemy import select, update

from clinic.notices import NoticeKind
from clinic.one_time_link import LIFE, LinkPurpose, digest
from clinic.records import notices
from clinic.records.db import database_now
from clinic.records.models import Account, Notice, OneTimeLink
from tests.mail_tools import KeptMail, mailer_of
from tests.portal_tools import table_bytes
from tests.world import World

OWN = [
    NoticeKind.NEW_DEVICE,
    NoticeKind.PASSWORD_CHANGED,
    NoticeKind.FACTOR_ADDED,
    NoticeKind.FACTOR_REMOVED,
    NoticeKind.RECOVERY_CODE_USED,
]


def tell(world: World, *kinds: NoticeKind) -> None:
    with world.sessions() as session, session.begin():
        account = session.get_one(Account, world.alice.account_id)
        for kind in kinds:
            notices.tell(session, account, kind)


def write_to(world: World, address: str, kind: NoticeKind, *, mine: bool = False) -> None:
    with world.sessions() as session, session.begin():
        account = session.get_one(Account, world.alice.account_id) if mine else None
        notices.write_to(session, world.secrets, address, kind, account=account)


def rows(world: World) -> list[Notice]:
    with world.sessions() as session:
        return list(session.scalars(select(Notice).order_by(Notice.created_at)))


def let_time_pass(world: World, time: timedelta) -> None:
    with world.sessions() as session, session.begin():
        for one in session.scalars(select(Notice)):
            one.not_before -= time


def test_every_notice_goes_to_the_account_once(world: World) -> None:
    tell(world, *OWN)
    channel = KeptMail()

    assert mailer_of(world, channel).send_due() == len(OWN)
    assert mailer_of(world, channel).send_due() == 0

    assert {address for address, _ in channel.sent} == {"alice@example.org"}
    assert len({message.subject for _, message in channel.sent}) == len(OWN)
    assert all(one.sent_at is not None for one in rows(world))


def test_a_mail_server_that_is_away_is_tried_again_later_and_later(world: World) -> None:
    tell(world, NoticeKind.PASSWORD_CHANGED)
    channel = KeptMail(broken=True)
    mailer = mailer_of(world, channel)
    waited = []
    for _ in range(4):
        assert mailer.send_due() == 0
        assert mailer.send_due() == 0, "not before its time"
        (row,) = rows(world)
        with world.sessions() as session:
            waited.append(round((row.not_before - database_now(session)).total_seconds() / 60))
        let_time_pass(world, timedelta(hours=7))

    assert waited == [1, 2, 4, 8]
    assert (row.attempts, row.last_error) == (4, "SMTPServerDisconnected")
    channel.broken = False
    assert mailer.send_due() == 1
    (row,) = rows(world)
    assert (row.last_error, row.sent_at is None) == (None, False)


def test_a_notice_is_given_up_after_its_last_try(world: World) -> None:
    tell(world, NoticeKind.PASSWORD_CHANGED)
    with world.sessions() as session, session.begin():
        session.execute(update(Notice).values(attempts=notices.MOST_ATTEMPTS))

    assert mailer_of(world, KeptMail()).send_due() == 0
    assert notices.pause_after(notices.MOST_ATTEMPTS) == notices.LONGEST_PAUSE


def test_two_mailers_send_no_notice_twice(world: World) -> None:
    tell(world, *OWN)
    channel = KeptMail()
    first, second = mailer_of(world, channel), mailer_of(world, channel)
    claimed = first._claim()
    assert claimed is not None

    assert second.send_due() == len(OWN) - 1
    assert first._send(claimed)

    assert len(channel.sent) == len(OWN)


def test_a_forgotten_password_is_mailed_to_who_has_an_account_and_to_nobody_else(
    world: World,
) -> None:
    channel = KeptMail()
    for address in ("ALICE@example.org", "nobody@example.org"):
        write_to(world, address, NoticeKind.PASSWORD_RESET)

    assert mailer_of(world, channel).send_due() == 1

    assert [address for address, _ in channel.sent] == ["ALICE@example.org"]
    token = channel.last_link().removeprefix("/password/new/")
    with world.sessions() as session:
        link = session.get_one(OneTimeLink, digest(token))
        left = link.expires_at - database_now(session)
    assert (link.purpose, link.account_id) == ("password reset", world.alice.account_id)
    assert timedelta(0) < left <= LIFE[LinkPurpose.PASSWORD_RESET] == timedelta(minutes=30)
    assert token.encode() not in table_bytes(world)
    assert all(one.sent_at is not None for one in rows(world)), "both are done with"


def test_a_disabled_account_gets_no_link(world: World) -> None:
    with world.sessions() as session, session.begin():
        account = session.get_one(Account, world.alice.account_id)
        account.disabled_at = database_now(session)
    write_to(world, "alice@example.org", NoticeKind.PASSWORD_RESET)

    assert mailer_of(world, KeptMail()).send_due() == 0


@pytest.mark.parametrize("kind", [NoticeKind.REGISTRATION, NoticeKind.EMAIL_CHANGE])
def test_the_owner_of_a_known_address_is_told_and_gets_no_link(
    world: World, kind: NoticeKind
) -> None:
    channel = KeptMail()
    write_to(world, "carol@example.org", kind, mine=kind is NoticeKind.EMAIL_CHANGE)

    mailer_of(world, channel).send_due()

    ((address, message),) = channel.sent
    assert address == "carol@example.org"
    assert "You have an account already" in message.subject
    assert "http" not in message.text


def test_addresses_wait_sealed(world: World) -> None:
    write_to(world, "someone@example.org", NoticeKind.REGISTRATION)

    assert b"someone@" not in table_bytes(world)


def test_no_mail_says_anything_about_health_or_who_somebody_is(world: World) -> None:
    tell(world, *OWN)
    tell(
        world,
        NoticeKind.CASES_NEARLY_DUE,
        NoticeKind.CASES_OVERDUE,
        NoticeKind.CASE_HANDED_OVER,
        NoticeKind.NEWS,
        NoticeKind.CASE_MESSAGE,
    )
    write_to(world, "alice@example.org", NoticeKind.PASSWORD_RESET)
    write_to(world, "new@example.org", NoticeKind.EMAIL_CHANGE, mine=True)
    write_to(world, "old@example.org", NoticeKind.EMAIL_CHANGED, mine=True)
    write_to(world, "new@example.org", NoticeKind.REGISTRATION)
    write_to(world, "carol@example.org", NoticeKind.REGISTRATION)
    channel = KeptMail()
    mailer_of(world, channel).send_due()

    kinds = {message.subject for _, message in channel.sent}
    assert len(kinds) == len(NoticeKind)
    for address, message in channel.sent:
        text = f"{message.subject} {message.text}".lower()
        clinical = "skin|photo|lesion|melanoma|cancer|doctor|case|result|diagnos|patient|urgent"
        assert not re.search(clinical, text), message.subject
        assert address not in text
        assert "alice" not in text
        assert world.alice.account_id not in text
