"""One submission through the worker, with the real keeper, records and photo rules."""

import hashlib
import io
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sqlalchemy import select, update
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from clinic.audit_event import AuditAction
from clinic.envelope import seal
from clinic.keeper_protocol import ObjectKind
from clinic.master_key import LocalMasterKey
from clinic.photo_reject import RejectReason
from clinic.records import keys, review, screening_queue, sealed_objects, submissions
from clinic.records.db import database_now
from clinic.records.models import (
    AuditEntry,
    EpochKeyRow,
    ScreeningResult,
    SealedObject,
    Submission,
)
from clinic.submission import CaseState, ScreeningState
from ml.triage import Urgency
from tests.fakes import FakeAnalyst, InlineHints
from tests.world import PHOTO, World, jpeg
from worker.screen_submission import Analysis, ScreeningServices, screen

AWAITING = (ScreeningState.DONE, CaseState.AWAITING_REVIEW)
QUEUED = (ScreeningState.QUEUED, CaseState.RECEIVED)
DEAD = (ScreeningState.DEAD, CaseState.AWAITING_REVIEW)
RETAKE = (ScreeningState.DONE, CaseState.UNREADABLE)


def row(world: World, case: str) -> Submission:
    with world.sessions() as session:
        found = submissions.find(session, case)
    assert found is not None
    return found


def states(world: World, case: str) -> tuple[str, str]:
    found = row(world, case)
    return found.screening_state, found.case_state


def result(world: World, case: str) -> ScreeningResult:
    with world.sessions() as session:
        found = review.result_of(session, case)
    assert found is not None
    return found


def kinds(world: World, case: str) -> list[str]:
    with world.sessions() as session:
        return sorted(one.kind for one in sealed_objects.of_submission(session, case, ObjectKind))


def photo_of(session: Session, case: str) -> SealedObject:
    return sealed_objects.of_submission(session, case, [ObjectKind.PHOTO])[0]


def due_now(world: World, case: str) -> None:
    """Let the pause before the next attempt pass."""
    with world.sessions() as session, session.begin():
        past = database_now(session) - timedelta(seconds=1)
        session.execute(update(Submission).where(Submission.id == case).values(not_before=past))


def actions(world: World, case: str) -> list[str]:
    query = select(AuditEntry.action).where(AuditEntry.submission_id == case)
    with world.sessions() as session:
        return list(session.scalars(query.order_by(AuditEntry.sequence)))


def test_a_photo_becomes_a_screened_case_with_a_sealed_heat_map(world: World) -> None:
    case = world.submit(world.alice)

    assert screen(world.screening(), case) == 1

    assert states(world, case) == AWAITING
    assert kinds(world, case) == ["heatmap", "history", "photo", "rendition"]
    found = result(world, case)
    assert found.ai_used
    assert found.probabilities is not None
    assert (found.explained_class, found.analysed_view) == ("nv", "close_up")
    assert (found.model_version, found.model_fingerprint) == ("fake-1", "f" * 64)
    assert set(found.stage_seconds) == {"open", "decode", "analyse", "seal"}
    assert row(world, case).urgency == 2
    assert actions(world, case) == [AuditAction.KEYS_RELEASED, AuditAction.SUBMISSION_SCREENED]


def test_the_computer_s_suspicion_sets_the_urgency_with_its_reasons(world: World) -> None:
    case = world.submit(world.alice)
    screen(world.screening(analyst=FakeAnalyst(top="mel")), case)

    assert row(world, case).urgency == 0
    assert "malignant" in result(world, case).reasons[0]


def test_nothing_of_the_photo_is_stored_in_clear(world: World) -> None:
    case = world.submit(world.alice)
    screen(world.screening(), case)

    stored = b"".join(path.read_bytes() for path in world.blobs.folder.rglob("*") if path.is_file())
    assert stored
    # Long enough that random ciphertext does not hold one by chance.
    for marker in (b"\xff\xd8\xff\xe0\x00\x10JFIF", b"\x89PNG heat-map", PHOTO[100:130]):
        assert marker not in stored


def test_the_worker_drains_the_queue_with_one_hint(world: World) -> None:
    cases = [world.submit(world.alice) for _ in range(3)]
    assert screen(world.screening(), cases[1]) == 3
    assert {states(world, case) for case in cases} == {AWAITING}


def test_a_long_queue_is_left_before_the_task_s_time_limit_strikes(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.screen_submission.LONGEST_DRAIN_SECONDS", 0.05)
    cases = [world.submit(world.alice) for _ in range(3)]
    slow = Slow(meanwhile=lambda: time.sleep(0.1))

    assert screen(world.screening(analyst=slow), cases[0]) == 1
    assert [states(world, case) for case in cases[1:]] == [QUEUED, QUEUED]


def test_a_hint_for_nothing_does_nothing(world: World) -> None:
    assert screen(world.screening(), "no such case") == 0


@pytest.mark.parametrize(
    ("views", "analysed"),
    [
        (("overview", "close_up", "dermoscopic"), "dermoscopic"),
        (("overview", "close_up"), "close_up"),
        (("overview",), "overview"),
    ],
)
def test_the_best_view_is_the_one_that_is_analysed(
    world: World, views: tuple[str, ...], analysed: str
) -> None:
    case = world.submit(world.alice, photos={view: jpeg(seed) for seed, view in enumerate(views)})
    screen(world.screening(), case)

    assert result(world, case).analysed_view == analysed
    assert len(world.analyst.seen) == 1
    assert kinds(world, case).count("rendition") == len(views)
    with world.sessions() as session:
        (heat_map,) = sealed_objects.of_submission(session, case, [ObjectKind.HEATMAP])
    assert (heat_map.view, heat_map.slot) == (analysed, views.index(analysed))


def test_the_model_sees_the_very_pixels_of_the_rendition(world: World) -> None:
    seen: list[str] = []

    @dataclass
    class Watching(FakeAnalyst):
        def analyse(self, pixels: np.ndarray) -> Analysis:
            seen.append(hashlib.sha256(pixels.tobytes()).hexdigest())
            return super().analyse(pixels)

    renditions = []
    services = world.screening(analyst=Watching())
    decode = services.decode

    def noting(data: bytes) -> object:
        renditions.append(decode(data))
        return renditions[-1]

    screen(replace(services, decode=noting), world.submit(world.alice))  # type: ignore[arg-type]

    with Image.open(io.BytesIO(renditions[0].data)) as image:  # type: ignore[attr-defined]
        pixels = np.asarray(image.convert("RGB"))
    assert seen == [hashlib.sha256(pixels.tobytes()).hexdigest()]


def test_without_the_patient_s_consent_no_probability_is_made(world: World) -> None:
    case = world.submit(world.alice, ai=False)
    screen(world.screening(), case)

    found = result(world, case)
    assert (found.ai_used, found.probabilities, found.model_fingerprint) == (False, None, None)
    assert "refused" in found.reasons[0]
    assert world.analyst.seen == []
    assert kinds(world, case) == ["history", "photo", "rendition"]
    assert row(world, case).urgency == Urgency.URGENT.rank - 1


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"%PDF-1.7 this is no photo" * 20, RejectReason.NOT_A_PHOTO),
        (PHOTO[: len(PHOTO) // 2], RejectReason.DAMAGED),
    ],
    ids=["not a photo", "cut short"],
)
def test_a_bad_photo_asks_the_patient_in_words_that_say_which_one(
    world: World, data: bytes, reason: RejectReason
) -> None:
    case = world.submit(world.alice, photos={"close_up": PHOTO, "dermoscopic": data})

    assert screen(world.screening(), case) == 1

    assert states(world, case) == RETAKE
    told = row(world, case).retake_reason
    assert told == f"Your photo through the skin lens: {reason.sentence}"
    assert kinds(world, case) == ["history", "photo", "photo"]
    assert actions(world, case)[-1] == AuditAction.RETAKE_REQUESTED


def flip(world: World, case: str) -> None:
    with world.sessions() as session:
        path = next(world.blobs.folder.rglob(photo_of(session, case).id))
    body = bytearray(path.read_bytes())
    body[100] ^= 1
    path.write_bytes(bytes(body))


def cut(world: World, case: str) -> None:
    with world.sessions() as session:
        path = next(world.blobs.folder.rglob(photo_of(session, case).id))
    path.write_bytes(path.read_bytes()[:-40])


def lose(world: World, case: str) -> None:
    with world.sessions() as session:
        world.blobs.delete(photo_of(session, case).id)


def transplant(world: World, case: str) -> None:
    """Another case's whole container, digests and all, takes the photo's place."""
    other = world.submit(world.carol)
    with world.sessions() as session, session.begin():
        mine, foreign = photo_of(session, case), photo_of(session, other)
        for name in ("header", "core_sha256", "body_sha256", "body_size"):
            setattr(mine, name, getattr(foreign, name))
        path = next(world.blobs.folder.rglob(mine.id))
        path.write_bytes(world.blobs.get(foreign.id))
        session.execute(
            update(Submission)
            .where(Submission.id == other)
            .values(not_before=database_now(session) + timedelta(hours=1))
        )


def change_header(world: World, case: str) -> None:
    with world.sessions() as session, session.begin():
        photo = photo_of(session, case)
        photo.header = photo.header.replace(r"\"slot\":0", r"\"slot\":1")


def destroy_epoch(world: World, _case: str) -> None:
    """The epoch's private half is gone; a new epoch key is there to seal to."""
    with world.sessions() as session, session.begin():
        now = database_now(session)
        gone = {"private_wrapped": None, "destroyed_at": now}
        session.execute(update(EpochKeyRow).values(gone))
        keys.publish_epoch(session, world.master, world.root_private)


@pytest.mark.parametrize(
    "harm",
    [flip, cut, lose, transplant, change_header, destroy_epoch],
    ids=lambda one: one.__name__,
)
def test_a_tampered_photo_is_asked_for_again_and_never_analysed(
    world: World, harm: Callable[[World, str], None]
) -> None:
    case = world.submit(world.alice)
    harm(world, case)

    screen(world.screening(), case)

    assert states(world, case) == RETAKE
    assert "arrived damaged" in (row(world, case).retake_reason or "")
    assert world.analyst.seen == []


def test_a_keeper_that_is_down_costs_no_attempt(world: World) -> None:
    case = world.submit(world.alice)
    services = world.screening(analyst=world.analyst)
    down = replace(services.keeper, hints=InlineHints(down=True))
    for _ in range(5):
        screen(replace(services, keeper=down), case)
        due_now(world, case)

    found = row(world, case)
    assert states(world, case) == QUEUED
    assert found.attempt == 0
    assert "cannot be reached" in (found.last_failure or "")
    screen(services, case)
    assert states(world, case) == AWAITING


def test_a_keeper_that_says_nothing_costs_no_attempt(world: World) -> None:
    case = world.submit(world.alice)
    services = world.screening()
    deaf = replace(services.keeper, hints=InlineHints(), patience_seconds=0.05)
    screen(replace(services, keeper=deaf), case)
    assert (states(world, case), row(world, case).attempt) == (QUEUED, 0)


def test_a_keeper_with_another_master_key_does_not_blame_the_photo(world: World) -> None:
    case = world.submit(world.alice)
    wrong = replace(world.keeper, master=LocalMasterKey(b"w" * 32))

    class Failing(InlineHints):
        """A task that fails in the keeper's process: the sender sees nothing of it."""

        def send(self, task: str, *ids: str) -> None:
            with pytest.raises(Exception, match="does not open"):
                super().send(task, *ids)

    services = world.screening()
    broken = replace(services.keeper, hints=Failing(keeper=wrong), patience_seconds=0.05)
    screen(replace(services, keeper=broken), case)

    assert (states(world, case), row(world, case).attempt) == (QUEUED, 0)


def test_a_clinic_without_an_epoch_key_costs_no_attempt(world: World) -> None:
    case = world.submit(world.alice)
    services = world.screening()
    with world.sessions() as session, session.begin():
        past = database_now(session) - timedelta(seconds=1)
        session.execute(update(EpochKeyRow).values(not_after=past))
    screen(services, case)
    assert (states(world, case), row(world, case).attempt) == (QUEUED, 0)


def test_a_refused_worker_does_not_blame_the_photo(world: World) -> None:
    """A wrong enrolment key is the installation's fault: the case goes to people, and loudly."""
    case = world.submit(world.alice)
    world.enrolment_key = b"another secret of 32 bytes......"
    services = world.screening()

    with pytest.raises(Exception, match="not enrolled"):
        screen(services, case)

    assert states(world, case) == QUEUED
    assert row(world, case).last_failure == "KeeperRefusedError"


def test_a_database_that_was_away_costs_no_attempt(world: World) -> None:
    case = world.submit(world.alice)
    away = FakeAnalyst(fault=OperationalError("SELECT secret", {}, Exception("gone")))

    with pytest.raises(OperationalError):
        screen(world.screening(analyst=away), case)

    found = row(world, case)
    assert (states(world, case), found.attempt) == (QUEUED, 0)
    assert found.last_failure == "the database was away"


def test_a_fault_of_the_model_goes_back_with_its_name_and_is_raised(world: World) -> None:
    case = world.submit(world.alice)
    services = world.screening(analyst=FakeAnalyst(fault=RuntimeError("secret detail")))

    with pytest.raises(RuntimeError, match="secret detail"):
        screen(services, case)

    found = row(world, case)
    assert (states(world, case), found.attempt) == (QUEUED, 1)
    assert found.last_failure == "RuntimeError"
    assert screen(services, case) == 0
    assert actions(world, case)[-1] == AuditAction.SCREENING_FAILED


def test_the_third_fault_sends_the_case_to_people_without_an_invented_result(
    world: World,
) -> None:
    case = world.submit(world.alice)
    services = world.screening(analyst=FakeAnalyst(fault=RuntimeError("boom")))
    for _ in range(3):
        with pytest.raises(RuntimeError):
            screen(services, case)
        due_now(world, case)

    assert states(world, case) == DEAD
    with world.sessions() as session:
        assert review.result_of(session, case) is None
    assert kinds(world, case) == ["history", "photo"]
    assert screen(world.screening(), case) == 0


def test_a_poison_case_does_not_touch_its_neighbours(world: World) -> None:
    poison, good = world.submit(world.alice), world.submit(world.carol)

    @dataclass
    class Picky(FakeAnalyst):
        def analyse(self, pixels: np.ndarray) -> Analysis:
            if row(world, poison).screening_state == ScreeningState.RUNNING:
                raise RuntimeError("poison")
            return super().analyse(pixels)

    services = world.screening(analyst=Picky())
    for _ in range(3):
        with pytest.raises(RuntimeError):
            screen(services, poison)
        due_now(world, poison)
    screen(services, None)

    assert states(world, poison) == DEAD
    assert states(world, good) == AWAITING
    assert row(world, good).attempt == 1


@dataclass
class Slow(FakeAnalyst):
    """Something happens to the case while the model thinks."""

    meanwhile: Callable[[], None] = lambda: None

    def analyse(self, pixels: np.ndarray) -> Analysis:
        self.meanwhile()
        return super().analyse(pixels)


def files(folder: Path) -> int:
    return sum(path.is_file() for path in folder.rglob("*"))


def test_a_worker_that_was_fenced_off_leaves_nothing(world: World) -> None:
    case = world.submit(world.alice)

    def lose_the_lease() -> None:
        with world.sessions() as session, session.begin():
            past = database_now(session) - timedelta(seconds=1)
            session.execute(update(Submission).values(lease_until=past))
        with world.sessions() as session, session.begin():
            assert screening_queue.expire_leases(session) == ([], [case])
            assert screening_queue.claim(session, hint=case, lease=timedelta(minutes=5))

    before = files(world.blobs.folder)
    screen(world.screening(analyst=Slow(meanwhile=lose_the_lease)), case)

    assert row(world, case).screening_state == ScreeningState.RUNNING
    assert files(world.blobs.folder) == before
    assert kinds(world, case) == ["history", "photo"]
    assert AuditAction.SUBMISSION_SCREENED not in actions(world, case)


def test_the_heartbeat_keeps_a_slow_worker_s_lease(world: World) -> None:
    case = world.submit(world.alice)
    moved: list[bool] = []

    def think_longer_than_the_lease() -> None:
        threading.Event().wait(1.6)
        with world.sessions() as session, session.begin():
            dead, again = screening_queue.expire_leases(session)
        moved.append(bool(dead or again))

    slow = Slow(meanwhile=think_longer_than_the_lease)
    screen(world.screening(analyst=slow, lease=timedelta(seconds=1)), case)

    assert moved == [False]
    assert states(world, case) == AWAITING


def test_the_heartbeat_ends_with_the_work(world: World) -> None:
    screen(world.screening(), world.submit(world.alice))
    assert "heartbeat" not in {thread.name for thread in threading.enumerate()}


def test_new_photos_are_analysed_again_and_replace_the_result(world: World) -> None:
    case = world.submit(world.alice, photos={"close_up": b"no photo" * 50})
    services: ScreeningServices = world.screening()
    screen(services, case)
    assert states(world, case) == RETAKE

    with world.sessions() as session, session.begin():
        found = submissions.find(session, case)
        assert found is not None
        submissions.replace_photos(session, found)
    with world.sessions() as session, session.begin():
        place = sealed_objects.Place(
            world.alice.patient_id or "", case, ObjectKind.PHOTO, 1, "close_up"
        )
        recipient = keys.sealing_recipient(session, world.root_public_key)
        sealed = seal(PHOTO, context=place.context, recipients=[recipient])
        sealed_objects.add(session, world.blobs, place, sealed, sealed_by="browser")
    screen(services, case)

    assert states(world, case) == AWAITING
    assert kinds(world, case) == ["heatmap", "history", "photo", "rendition"]
