"""A case at the desk: first reads, signatures, requests for new photos, on both databases."""

from datetime import timedelta
from functools import partial

from sqlalchemy import func, select

from clinic.hand_over import HandOverReason
from clinic.records import first_reads, review, review_queue, sealed_objects, submissions
from clinic.records.db import database_now
from clinic.records.first_reads import Impression
from clinic.records.models import SignedReport, Submission
from clinic.records.review import Decision, NotOwnerError
from clinic.submission import CaseState
from tests.threads import at_once
from tests.waiting_cases import claim, claim_ran_out, now, waiting
from tests.world import Person, World


def test_the_first_blind_impression_stays(world: World) -> None:
    case = waiting(world)
    for impression in ("nv", "mel"):
        with world.sessions() as session, session.begin():
            first_reads.record(
                session,
                case,
                reader_id=world.bob.account_id,
                blind=Impression(impression, "low"),
            )
    with world.sessions() as session:
        found = first_reads.find(session, case)
    assert found is not None
    assert found.impression == "nv"


def test_another_reader_reads_blind_for_themselves(world: World) -> None:
    case = waiting(world)
    for reader, impression in ((world.bob, "nv"), (world.dan, "mel")):
        with world.sessions() as session, session.begin():
            blind = Impression(impression, "low")
            first_reads.record(session, case, reader_id=reader.account_id, blind=blind)
    with world.sessions() as session:
        found = first_reads.find(session, case)
    assert found is not None
    assert (found.reader_id, found.impression) == (world.dan.account_id, "mel")


def sign(world: World, case: str, reader: Person) -> bool:
    """Sign with the texts of the history: what they say does not matter here."""
    with world.sessions() as session, session.begin():
        row = submissions.find(session, case)
        assert row is not None
        (text,) = sealed_objects.of_submission(session, case, ["history"])  # type: ignore[list-item]
        decision = Decision(
            diagnosis="nv",
            icd10cm="D22.5",
            confidence="high",
            image_quality="good",
            plan="benign_advice",
            agreement="agree",
            override_reason=None,
            finding=text,
            letter=text,
        )
        try:
            review.sign(session, row, reader_id=reader.account_id, decision=decision)
        except NotOwnerError:
            session.rollback()
            return False
    return True


def reports(world: World, case: str) -> int:
    query = select(func.count()).where(SignedReport.submission_id == case)
    with world.sessions() as session:
        return session.scalar(query) or 0


def test_the_holder_signs_once(world: World) -> None:
    case = waiting(world)
    claim(world, case, world.bob)

    assert sign(world, case, world.bob)
    assert not sign(world, case, world.bob)

    assert reports(world, case) == 1
    with world.sessions() as session:
        assert session.get_one(Submission, case).case_state == CaseState.SIGNED
        report = submissions.signed_report(session, case)
    assert report is not None
    assert (report.signer_id, report.version) == (world.bob.account_id, 1)


def test_without_the_claim_nobody_signs(world: World) -> None:
    case = waiting(world)
    assert not sign(world, case, world.bob)
    claim(world, case, world.bob)
    assert not sign(world, case, world.dan)
    claim_ran_out(world, case)
    assert not sign(world, case, world.bob)
    assert reports(world, case) == 0


def test_of_two_signatures_at_once_one_counts(world: World) -> None:
    case = waiting(world)
    claim(world, case, world.bob)
    answers = at_once(*[partial(sign, world, case, world.bob)] * 4)
    assert sorted(answers) == [False, False, False, True]
    assert reports(world, case) == 1


def test_a_signed_case_can_be_neither_released_nor_sent_back(world: World) -> None:
    case = waiting(world)
    claim(world, case, world.bob)
    sign(world, case, world.bob)
    reader = world.bob.account_id
    with world.sessions() as session, session.begin():
        row = session.get_one(Submission, case)
        reason = HandOverReason.MISTAKE
        assert not review_queue.hand_over(session, row, reader_id=reader, to_id=None, reason=reason)
        assert not review.request_retake(session, case, reader_id=reader, reason="Blurred.")
    assert not claim(world, case, world.bob)


def test_the_holder_asks_for_new_photos_and_others_cannot(world: World) -> None:
    case = waiting(world)
    claim(world, case, world.bob)
    for reader, done in ((world.dan, False), (world.bob, True), (world.bob, False)):
        with world.sessions() as session, session.begin():
            asked = review.request_retake(
                session, case, reader_id=reader.account_id, reason="It is blurred."
            )
        assert asked is done
    with world.sessions() as session:
        row = session.get_one(Submission, case)
    assert (row.case_state, row.retake_reason) == (CaseState.UNREADABLE, "It is blurred.")
    assert (row.claimed_by, row.claim_until) == (world.bob.account_id, None)


def test_a_patient_is_told_once_and_only_of_a_signed_case(world: World) -> None:
    case = waiting(world)
    told = []
    for signed in (False, True, True):
        if signed and not told[1:]:
            claim(world, case, world.bob)
            sign(world, case, world.bob)
        with world.sessions() as session, session.begin():
            told.append(review.mark_told(session, case))
    assert told == [False, True, False]
    with world.sessions() as session:
        assert session.get_one(Submission, case).told_at is not None


def test_a_signature_makes_the_reconciler_look_at_the_case_again(world: World) -> None:
    case = waiting(world, escalate_at=now(world) + timedelta(days=3))
    claim(world, case, world.bob)
    sign(world, case, world.bob)
    with world.sessions() as session:
        row = session.get_one(Submission, case)
        assert row.escalate_at is not None
        assert row.escalate_at <= database_now(session)
