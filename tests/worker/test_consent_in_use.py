"""Consent is asked at each use: a withdrawal, or the end of a period, between asking and using."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select, update

from clinic.consent import ConsentDecision, Purpose
from clinic.keeper_protocol import KeyPurpose, ObjectKind
from clinic.records import accounts, consents, key_requests, keys, research, sealed_objects
from clinic.records.db import database_now
from clinic.records.key_requests import NewKeyRequest
from clinic.records.models import Account, Consent, KeyRequest, ScreeningResult
from tests.fakes import FakeAnalyst
from tests.world import World
from worker.screen_submission import screen

FOR_THE_COMPUTER = (Purpose.CARE, Purpose.TELEDERMATOLOGY, Purpose.AI_ASSISTANCE)


def withdraw(world: World, purpose: Purpose) -> None:
    with world.sessions() as session, session.begin():
        no = ConsentDecision(purpose, permitted=False)
        consents.record(session, world.alice.patient_id or "", [no])


def expire(world: World, purpose: Purpose) -> None:
    """The newest decision held for a day and ended a moment ago."""
    with world.sessions() as session, session.begin():
        now = database_now(session)
        rows = update(Consent).where(Consent.patient_id == world.alice.patient_id)
        period = {"recorded_at": now - timedelta(days=1), "valid_until": now}
        session.execute(rows.where(Consent.purpose == purpose).values(**period))


ENDS = pytest.mark.parametrize("end", [withdraw, expire], ids=["withdrawn", "expired"])


def result_of(world: World, case: str) -> ScreeningResult:
    with world.sessions() as session:
        return session.scalars(
            select(ScreeningResult).where(ScreeningResult.submission_id == case)
        ).one()


@ENDS
@pytest.mark.parametrize("purpose", FOR_THE_COMPUTER)
def test_the_computer_judges_nothing_after_the_consent_has_ended(
    world: World, end: Any, purpose: Purpose
) -> None:
    """The case was sent with consent and waits with it; nobody has told the queue."""
    case, analyst = world.submit(world.alice), FakeAnalyst()
    end(world, purpose)

    screen(world.screening(analyst=analyst), case)

    assert analyst.seen == []
    assert not result_of(world, case).ai_used


def test_a_judgement_that_was_made_meanwhile_is_thrown_away(world: World) -> None:
    case = world.submit(world.alice)

    class WithdrawnMeanwhile(FakeAnalyst):
        def analyse_one(self, pixels: Any) -> Any:
            withdraw(world, Purpose.AI_ASSISTANCE)
            return super().analyse_one(pixels)

    analyst = WithdrawnMeanwhile()
    screen(world.screening(analyst=analyst), case)

    result = result_of(world, case)
    assert analyst.seen
    assert (result.ai_used, result.probabilities, result.model_fingerprint) == (False, None, None)
    with world.sessions() as session:
        assert not sealed_objects.of_submission(session, case, [ObjectKind.HEATMAP])


@ENDS
def test_research_gets_no_key_when_consent_ends_between_asking_and_the_answer(
    world: World, end: Any
) -> None:
    world.decide_on_research(world.alice, permitted=True)
    case = world.signed(world.alice, world.bob)
    asked = ask_for_training(world, case)
    end(world, Purpose.RESEARCH)

    world.keeper.answer(asked)

    with world.sessions() as session:
        request = session.get_one(KeyRequest, asked)
        assert (request.state, request.answer) == ("refused", None)
        assert request.refusal == "the patient does not permit research"


@ENDS
def test_a_training_set_leaves_out_whose_consent_has_ended(world: World, end: Any) -> None:
    world.decide_on_research(world.alice, permitted=True)
    world.signed(world.alice, world.bob)

    def found() -> int:
        with world.sessions() as session:
            return len(research.permitted_cases(session, clinic_id=world.clinic_id))

    before = found()
    end(world, Purpose.RESEARCH)
    assert (before, found()) == (1, 0)


def ask_for_training(world: World, case: str) -> str:
    """A request that waits for the keeper."""
    with world.sessions() as session, session.begin():
        process = keys.enrol_process(session, world.enrolment_key, program="export")
        erin = session.get_one(Account, world.erin.account_id)
        token = accounts.start_login(session, erin, second_factor=True)
        login = accounts.live_login(session, token)
        assert login is not None
        objects = sealed_objects.of_submission(session, case, [ObjectKind.RENDITION])
        wanted = NewKeyRequest(
            purpose=KeyPurpose.TRAINING,
            object_ids=tuple(one.id for one in objects),
            recipient_key=process.private_key.public_key().public_bytes_raw(),
            process_id=process.id,
            login_session_id=login.id,
            submission_id=case,
        )
        return key_requests.ask(session, wanted).id
