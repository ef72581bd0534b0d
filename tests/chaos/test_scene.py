"""How a scene sends and waits: what is unanswered is sent again, and no waiting is endless."""

from collections.abc import Iterator
from types import SimpleNamespace

import httpx
import pytest
from sqlalchemy.exc import OperationalError

from clinic.records.models import Submission
from clinic.submission import CaseState, ScreeningState
from tools.chaos import scene as module
from tools.chaos.scene import Ending, NotSurvived, Scene, ending_of
from tools.portal_client import PortalError, SealedCase


class Patient:
    """A browser that gets these answers, one after the other; None is a broken connection."""

    def __init__(self, *answers: int | None) -> None:
        self.answers: Iterator[int | None] = iter(answers)
        self.sent: list[str] = []
        self.forms = 0

    def seal_case(self, _history: object, _photos: object) -> SealedCase:
        self.forms += 1
        return SealedCase(f"case {self.forms}", {}, {})

    def post_case(self, case: SealedCase) -> httpx.Response:
        self.sent.append(case.submission_id)
        answer = next(self.answers)
        if answer is None:
            raise httpx.ReadError("the connection broke")
        return httpx.Response(answer, headers={"Retry-After": "20"} if answer == 503 else {})


class NoForm(Patient):
    def seal_case(self, _history: object, _photos: object) -> SealedCase:
        raise PortalError("the portal is away")


def scene_of(patient: Patient) -> Scene:
    photo = SimpleNamespace(data=b"photo", markers={})
    watched = SimpleNamespace(supervisor=SimpleNamespace(watch=lambda: None))
    return Scene(None, None, watched, [patient], None, [photo], None)  # type: ignore[arg-type,list-item]


def test_an_accepted_case_is_remembered_and_must_be_done() -> None:
    scene = scene_of(Patient(202, 202))

    assert scene.submit(2) == ["case 1", "case 2"]

    assert scene.trial == ["case 1", "case 2"]
    assert scene.cases["case 1"].endings == {Ending.DONE}
    scene.expect("case 1", Ending.DEAD, Ending.UNREADABLE)
    assert scene.cases["case 1"].endings == {Ending.DEAD, Ending.UNREADABLE}


@pytest.mark.parametrize("patient", [Patient(503), Patient(None), NoForm()])
def test_a_case_that_must_be_accepted_and_is_not_ends_the_trial(patient: Patient) -> None:
    with pytest.raises(NotSurvived):
        scene_of(patient).submit()


@pytest.mark.parametrize("first", [503, 500, None])
def test_a_form_without_an_answer_is_sent_again_and_is_one_case(first: int | None) -> None:
    patient = Patient(first, 503, 202)
    scene = scene_of(patient)

    sent = scene.try_to_submit()
    assert sent is not None
    assert (sent.status, scene.trial) == (first, [])
    scene.retry()

    assert patient.sent == ["case 1"] * 3
    assert scene.trial == ["case 1"]
    assert scene.unanswered == []


def test_a_refused_form_is_not_sent_again() -> None:
    scene = scene_of(Patient(429))

    assert scene.try_to_submit() is not None
    assert (scene.unanswered, scene.trial) == ([], [])


def test_a_portal_without_a_form_has_accepted_nothing() -> None:
    scene = scene_of(NoForm())

    assert scene.try_to_submit() is None
    assert (scene.unanswered, scene.sendings) == ([], [])


def test_a_form_that_is_never_taken_ends_the_trial(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RETRY_SECONDS", 0.1)
    scene = scene_of(Patient(*[503] * 100))
    scene.try_to_submit()

    with pytest.raises(NotSurvived, match="a form was not accepted when sent again"):
        scene.retry()


def test_the_load_sends_no_more_than_it_was_told() -> None:
    scene = scene_of(Patient(*[202] * 10))

    with scene.load(0.001, 3) as load:
        load.join()

    assert len(scene.trial) == 3


def test_the_load_ends_with_its_block() -> None:
    scene = scene_of(Patient())

    with scene.load(60.0, 3) as load:
        assert load.is_alive()

    assert not load.is_alive()


def test_waiting_ends_with_a_sentence() -> None:
    with pytest.raises(NotSurvived, match=r"Within 0\.1 s nothing came back\."):
        scene_of(Patient()).until(lambda: False, 0.1, what="nothing came back")


def test_a_database_that_is_away_is_waited_for() -> None:
    answers = iter([OperationalError("BEGIN", {}, Exception("locked")), None])

    def condition() -> bool:
        error = next(answers)
        if error is not None:
            raise error
        return True

    assert scene_of(Patient()).until(condition, 5.0, what="it did not come back") < 5.0


@pytest.mark.parametrize(
    ("screening", "case", "ending"),
    [
        (ScreeningState.QUEUED, CaseState.RECEIVED, None),
        (ScreeningState.RUNNING, CaseState.RECEIVED, None),
        (ScreeningState.DONE, CaseState.AWAITING_REVIEW, Ending.DONE),
        (ScreeningState.DONE, CaseState.UNREADABLE, Ending.UNREADABLE),
        (ScreeningState.DEAD, CaseState.AWAITING_REVIEW, Ending.DEAD),
    ],
)
def test_a_case_ends_in_one_of_three_ways(
    screening: ScreeningState, case: CaseState, ending: Ending | None
) -> None:
    assert ending_of(Submission(screening_state=screening, case_state=case)) is ending
