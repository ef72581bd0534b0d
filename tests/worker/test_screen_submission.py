"""One submission through the worker, with the real keeper, records and photo rules."""

import contextvars
import hashlib
import io
import json
import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sqlalchemy import func, select, update
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from clinic.audit_event import AuditAction
from clinic.envelope import seal
from clinic.json_log import JsonFormatter, case_reference
from clinic.keeper_protocol import ObjectKind
from clinic.master_key import LocalMasterKey
from clinic.photo import Rendition
from clinic.photo_reject import RejectReason
from clinic.records import keys, review, screening_queue, sealed_objects, submissions
from clinic.records.blobs import StorageFullError
from clinic.records.db import database_now
from clinic.records.models import (
    AuditEntry,
    EpochKeyRow,
    ScreeningResult,
    SealedObject,
    Submission,
)
from clinic.submission import MAX_ATTEMPTS, CaseState, ScreeningState
from ml.engine import DeviceLostError
from ml.triage import Urgency
from tests.fakes import FakeAnalyst, InlineHints
from tests.world import PHOTO, World, jpeg
from tools.lesion_drawing import draw_lesion
from worker import saving
from worker.analysis import Analysis
from worker.decode import DeathReason, DecoderDied
from worker.screen_submission import screen
from worker.services import ScreeningServices

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
    assert kinds(world, case) == ["heatmap", "heatmap", "history", "photo", "rendition"]
    found = result(world, case)
    assert found.ai_used
    assert found.probabilities is not None
    assert (found.explained_class, found.analysed_view) == ("nv", "close_up")
    assert found.maps == [
        {"label": "nv", "focus": "upper left"},
        {"label": "bkl", "focus": "centre"},
    ]
    assert (found.model_version, found.model_fingerprint) == ("fake-1", "f" * 64)
    assert (found.engine, found.device) == ("fake engine", "fake device")
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
        maps = sealed_objects.of_submission(session, case, [ObjectKind.HEATMAP])
    slot = views.index(analysed)
    assert [(one.view, one.slot) for one in maps] == [(analysed, slot), (analysed, slot + 500)]


def test_the_model_sees_the_very_pixels_of_the_rendition(world: World) -> None:
    seen: list[str] = []

    @dataclass
    class Watching(FakeAnalyst):
        def analyse_one(self, pixels: np.ndarray) -> Analysis:
            seen.append(hashlib.sha256(pixels.tobytes()).hexdigest())
            return super().analyse_one(pixels)

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
            .values(not_before=database_now(session) + timedelta(minutes=10))
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
    [flip, cut, lose, transplant, change_header],
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


def spoil_the_history(world: World, case: str) -> None:
    with world.sessions() as session, session.begin():
        told = select(SealedObject).where(SealedObject.submission_id == case)
        history = session.scalars(told.where(SealedObject.kind == ObjectKind.HISTORY)).one()
        body = history.body or b""
        history.body = body[:-1] + bytes([body[-1] ^ 1])


@pytest.mark.parametrize("harm", [spoil_the_history, destroy_epoch], ids=lambda one: one.__name__)
def test_answers_that_are_lost_send_the_case_to_people_since_new_photos_would_not_help(
    world: World, harm: Callable[[World, str], None]
) -> None:
    case = world.submit(world.alice)
    harm(world, case)

    screen(world.screening(), case)

    assert states(world, case) == DEAD
    assert "answers are damaged" in (row(world, case).last_failure or "")
    assert actions(world, case)[-1] == AuditAction.SCREENING_GIVEN_UP


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
            with pytest.raises(Exception, match="is needed"):
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

    with pytest.raises(Exception, match="not enrolled") as raised:
        screen(services, case)

    assert named_case(raised.value) == case_reference(case)
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


def test_a_photo_store_that_is_full_costs_no_attempt(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = world.submit(world.alice)

    def put(*_: object) -> None:
        raise StorageFullError("The photo store cannot take more.")

    services = world.screening()
    monkeypatch.setattr(type(world.blobs), "put", put)
    with pytest.raises(StorageFullError) as raised:
        screen(services, case)

    assert named_case(raised.value) == case_reference(case)
    found = row(world, case)
    assert (states(world, case), found.attempt) == (QUEUED, 0)
    assert found.last_failure == "The photo store cannot take more."


def test_a_result_waits_for_a_database_that_is_away_for_a_moment(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(saving, "ASK_DATABASE_EVERY_SECONDS", 0.01)
    case = world.submit(world.alice)
    refused: list[str] = []
    begin = world.sessions

    def sessions() -> Session:
        if "saving" in threading.current_thread().name and len(refused) < 3:
            refused.append("away")
            raise OperationalError("UPDATE", {}, Exception("the server closed the connection"))
        return begin()

    assert screen(world.screening(sessions=sessions), case) == 1

    assert refused == ["away"] * 3
    assert states(world, case) == AWAITING
    assert row(world, case).attempt == 1


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
        def analyse_one(self, pixels: np.ndarray) -> Analysis:
            if row(world, poison).screening_state == ScreeningState.RUNNING:
                raise RuntimeError("poison")
            return super().analyse_one(pixels)

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

    def analyse_one(self, pixels: np.ndarray) -> Analysis:
        self.meanwhile()
        return super().analyse_one(pixels)


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
            lease = timedelta(minutes=5)
            assert screening_queue.claim_batch(session, hint=case, lease=lease, limit=1)

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
    assert kinds(world, case) == ["heatmap", "heatmap", "history", "photo", "rendition"]


@dataclass
class Batching(FakeAnalyst):
    """Notes how many photos came at once; something may happen meanwhile."""

    batch_size: int = 4
    sizes: list[int] = field(default_factory=list)
    meanwhile: Callable[[], None] = lambda: None

    def analyse(self, photos: Sequence[np.ndarray]) -> list[Analysis]:
        self.sizes.append(len(photos))
        self.meanwhile()
        return super().analyse(photos)


def held_cases(world: World) -> int:
    query = select(func.count()).where(Submission.screening_state == ScreeningState.RUNNING)
    with world.sessions() as session:
        return session.scalar(query) or 0


def fail_once(world: World, case: str) -> None:
    """Make it a suspect that is due."""
    with world.sessions() as session, session.begin():
        session.execute(update(Submission).where(Submission.id == case).values(attempt=1))


def test_under_load_photos_are_analysed_in_batches(world: World) -> None:
    cases = [world.submit(world.alice) for _ in range(6)]
    analyst = Batching()

    assert screen(world.screening(analyst=analyst), cases[5]) == 6

    assert analyst.sizes == [4, 2]
    assert {states(world, case) for case in cases} == {AWAITING}


def test_a_case_without_consent_shares_a_batch_and_is_not_analysed(world: World) -> None:
    refused = world.submit(world.carol, ai=False)
    others = [world.submit(world.alice) for _ in range(2)]
    analyst = Batching(top="mel")

    screen(world.screening(analyst=analyst), others[0])

    assert analyst.sizes == [2]
    assert not result(world, refused).ai_used
    assert {row(world, case).urgency for case in others} == {0}


def test_the_next_batch_is_opened_while_this_one_is_analysed(world: World) -> None:
    for _ in range(4):
        world.submit(world.alice)
    opened = threading.Semaphore(0)
    seen: list[bool] = []
    services = world.screening()

    def decode(data: bytes) -> Rendition:
        opened.release()
        return services.decode(data)

    def wait_for_two_more() -> None:
        if not seen:
            seen.append(all(opened.acquire(timeout=20) for _ in range(4)))

    analyst = Batching(batch_size=2, meanwhile=wait_for_two_more)
    assert screen(replace(services, decode=decode, analyst=analyst), None) == 4
    assert seen == [True]


def test_a_suspect_is_alone_in_the_process(world: World) -> None:
    suspect = world.submit(world.alice)
    fail_once(world, suspect)
    fresh = [world.submit(world.alice) for _ in range(2)]
    together: list[int] = []
    analyst = Batching(meanwhile=lambda: together.append(held_cases(world)))

    assert screen(world.screening(analyst=analyst), suspect) == 3

    assert analyst.sizes == [1, 2]
    assert together == [1, 2]
    assert {states(world, case) for case in (suspect, *fresh)} == {AWAITING}


@dataclass
class Allergic(Batching):
    """Cannot stand photos of one shape, alone or among others."""

    poison: tuple[int, ...] = ()

    def analyse_one(self, pixels: np.ndarray) -> Analysis:
        if pixels.shape == self.poison:
            raise RuntimeError("poison")
        return super().analyse_one(pixels)


def named_case(fault: BaseException) -> str | None:
    """The case that the log's line of this fault names, where nothing else names one."""
    record = logging.LogRecord("worker", logging.ERROR, "", 0, "", None, (type(fault), fault, None))
    line = contextvars.Context().run(JsonFormatter("worker").format, record)
    return json.loads(line).get("case")


def odd_photo() -> bytes:
    out = io.BytesIO()
    draw_lesion(4, (640, 470)).save(out, "JPEG")
    return out.getvalue()


def test_a_fault_in_a_batch_is_charged_to_the_photo_that_it_belongs_to(world: World) -> None:
    before = world.submit(world.alice)
    poison = world.submit(world.carol, photos={"close_up": odd_photo()})
    behind = world.submit(world.alice)

    with pytest.raises(RuntimeError, match="poison") as raised:
        screen(world.screening(analyst=Allergic(poison=(470, 640, 3))), None)
    assert named_case(raised.value) == case_reference(poison)

    assert states(world, before) == AWAITING
    assert [(states(world, one), row(world, one).attempt) for one in (poison, behind)] == [
        (QUEUED, 1),
        (QUEUED, 0),
    ]
    assert row(world, poison).last_failure == "RuntimeError"
    assert actions(world, behind) == [AuditAction.KEYS_RELEASED]
    assert screen(world.screening(), None) == 1
    assert states(world, behind) == AWAITING


def test_a_lost_accelerator_ends_the_work_and_returns_every_case(world: World) -> None:
    cases = [world.submit(world.alice) for _ in range(3)]
    lost = Batching(fault=DeviceLostError("the GPU fell off the bus"))

    with pytest.raises(DeviceLostError):
        screen(world.screening(analyst=lost), None)

    assert {(states(world, one), row(world, one).attempt) for one in cases} == {(QUEUED, 1)}
    assert lost.sizes == [3]


def test_a_decoder_that_dies_three_times_asks_for_another_photo(world: World) -> None:
    case = world.submit(world.alice)

    def decode(_: bytes) -> Rendition:
        raise DecoderDied(DeathReason.CRASHED)

    deadly = world.screening(decode=decode)
    for attempt in (1, 2):
        screen(deadly, case)
        due_now(world, case)
        assert (states(world, case), row(world, case).attempt) == (QUEUED, attempt)
    assert row(world, case).last_failure == "DecoderDied"
    screen(deadly, case)

    assert states(world, case) == RETAKE
    assert "could not read this photo" in (row(world, case).retake_reason or "")


def test_a_decoder_that_dies_does_not_touch_the_neighbours(world: World) -> None:
    poison = world.submit(world.carol, photos={"close_up": odd_photo()})
    others = [world.submit(world.alice) for _ in range(2)]
    services = world.screening(analyst=Batching())

    def decode(data: bytes) -> Rendition:
        if data != PHOTO:
            raise DecoderDied(DeathReason.CRASHED)
        return services.decode(data)

    screen(replace(services, decode=decode), None)

    assert (states(world, poison), row(world, poison).attempt) == (QUEUED, 1)
    assert [(states(world, one), row(world, one).attempt) for one in others] == [(AWAITING, 1)] * 2


def after_its_workers_died(world: World, data: bytes) -> str:
    case = world.submit(world.alice, photos={"close_up": data})
    with world.sessions() as session, session.begin():
        session.execute(update(Submission).values(attempt=MAX_ATTEMPTS))
    return case


def test_the_last_look_sends_a_case_whose_photo_is_well_to_people(world: World) -> None:
    case = after_its_workers_died(world, PHOTO)

    assert screen(world.screening(), case) == 1

    assert states(world, case) == DEAD
    assert row(world, case).last_failure == screening_queue.WORKERS_DIED
    assert world.analyst.seen == []
    assert actions(world, case)[-1] == AuditAction.SCREENING_GIVEN_UP


def test_the_last_look_asks_for_another_photo_when_that_was_the_fault(world: World) -> None:
    case = after_its_workers_died(world, PHOTO)

    def decode(_: bytes) -> Rendition:
        raise DecoderDied(DeathReason.OUT_OF_MEMORY)

    screen(world.screening(decode=decode), case)

    assert states(world, case) == RETAKE
    assert world.analyst.seen == []


def test_a_worker_that_is_to_stop_finishes_its_batch_and_puts_the_next_back(world: World) -> None:
    cases = [world.submit(world.alice) for _ in range(6)]
    stop = threading.Event()
    analyst = Batching(batch_size=2)
    services = world.screening(analyst=analyst)
    decoded: list[bytes] = []

    def decode(data: bytes) -> Rendition:
        decoded.append(data)
        if len(decoded) > 2:
            stop.set()  # the second batch is being opened
        return services.decode(data)

    analyst.meanwhile = lambda: stop.wait(20) or None
    handled = screen(replace(services, decode=decode), None, stopped=stop.is_set)

    assert handled == 2
    assert [states(world, case) for case in cases] == [AWAITING] * 2 + [QUEUED] * 4
    assert {row(world, case).attempt for case in cases[2:]} == {0}
    assert held_cases(world) == 0
    with world.sessions() as session:
        assert AuditAction.SCREENING_FAILED not in session.scalars(select(AuditEntry.action)).all()


def test_a_worker_that_was_told_to_stop_before_claims_nothing(world: World) -> None:
    case = world.submit(world.alice)
    assert screen(world.screening(), case, stopped=lambda: True) == 0
    assert row(world, case).attempt == 0


def test_every_step_is_a_sign_of_progress(world: World) -> None:
    signs: list[str] = []
    services = world.screening()
    screen(
        replace(services, note_progress=lambda: signs.append("moved")), world.submit(world.alice)
    )
    # Claimed, opened, looked for more, analysed, saved, and found nothing more.
    assert len(signs) == 6


def test_a_case_given_back_is_a_sign_of_progress(world: World) -> None:
    """Else the watchdog would take a keeper that is away for a stall of the worker."""
    signs: list[str] = []
    services = world.screening()
    down = replace(services.keeper, hints=InlineHints(down=True))
    noting = replace(services, keeper=down, note_progress=lambda: signs.append("moved"))

    screen(noting, world.submit(world.alice))

    # More than claimed, looked for more, and found nothing.
    assert len(signs) > 3
