"""A person's own account: consents that can be changed, browsers that can be signed out."""

import re
from collections.abc import Callable

from clinic.audit_event import AuditAction
from clinic.records import accounts, consents
from tests.browser_session import BrowserSession
from tests.portal_tools import change_row, entries, row_of, words
from tests.world import World

SignedIn = Callable[[str], BrowserSession]
END = re.compile(r'action="(/account/sessions/[0-9a-f]{32}/end)"')


def permitted(world: World) -> set[str]:
    with world.sessions() as session:
        return consents.permitted_purposes(session, world.alice.patient_id)


def test_a_consent_is_withdrawn_and_given_again(world: World, signed_in: SignedIn) -> None:
    alice = signed_in("alice")

    alice.post("/account/consents", {"consent_research": "y"})
    assert permitted(world) == {"care", "teledermatology", "research"}
    alice.post("/account/consents", {"consent_ai": "y"})
    assert permitted(world) == {"care", "teledermatology", "ai_assistance"}

    recorded = entries(world, AuditAction.CONSENT_RECORDED)
    assert [one.patient_id for one in recorded] == [world.alice.patient_id] * 2


def test_without_consent_the_computer_judges_no_case_that_still_waits(
    world: World, signed_in: SignedIn
) -> None:
    waiting, held, of_another = (
        world.submit(who) for who in (world.alice, world.alice, world.carol)
    )
    change_row(
        world, held, screening_state="running", token=held, lease_until=row_of(world, held).due_at
    )

    signed_in("alice").post("/account/consents", {"consent_research": "y"})

    assert not row_of(world, waiting).ai_permitted
    assert row_of(world, held).ai_permitted
    assert row_of(world, of_another).ai_permitted


def test_a_case_keeps_its_consent_when_another_one_changes(
    world: World, signed_in: SignedIn
) -> None:
    waiting = world.submit(world.alice)

    signed_in("alice").post("/account/consents", {"consent_ai": "y"})

    assert row_of(world, waiting).ai_permitted


def test_earlier_decisions_stay_on_record(world: World, signed_in: SignedIn) -> None:
    with world.sessions() as session:
        (before,) = [
            one
            for one in consents.newest(session, world.alice.patient_id)
            if one.purpose == "ai_assistance"
        ]
    signed_in("alice").post("/account/consents", {})

    with world.sessions() as session:
        kept = session.get(type(before), before.id)
        assert kept is not None
        assert kept.permitted
        assert kept.recorded_at == before.recorded_at
    assert "ai_assistance" not in permitted(world)


def test_another_browser_is_seen_and_signed_out(signed_in: SignedIn) -> None:
    here, there = signed_in("alice"), signed_in("alice")
    page = here.get("/account").text
    assert words(page).count("another browser") >= 1
    (path,) = END.findall(page)

    here.post(path)

    assert there.get("/account").location.startswith("/sign-in")
    assert here.get("/account").status_code == 200
    assert not END.findall(here.get("/account").text)


def test_nobody_signs_out_somebody_else(world: World, signed_in: SignedIn) -> None:
    carol, alice = signed_in("carol"), signed_in("alice")
    with world.sessions() as session:
        (login,) = accounts.logins_of(session, world.carol.account_id)

    assert alice.post(f"/account/sessions/{login.id}/end").status_code == 404
    assert carol.get("/account").status_code == 200


def test_staff_have_no_consents_on_their_page(signed_in: SignedIn) -> None:
    assert "/account/consents" in signed_in("alice").get("/account").text
    assert "/account/consents" not in signed_in("bob").get("/account").text
