"""One submission through the worker, with the real keeper, records and photo rules."""

from clinic.records import review, submissions
from clinic.submission import CaseState, ScreeningState
from tests.world import World
from worker.screen_submission import screen


def test_a_photo_becomes_a_screened_case_with_a_sealed_heat_map(world: World) -> None:
    case = world.submit(world.alice)

    assert screen(world.screening(), case) == 1

    with world.sessions() as session:
        row = submissions.find(session, case)
        result = review.result_of(session, case)
    assert row is not None
    assert (row.screening_state, row.case_state) == (
        ScreeningState.DONE,
        CaseState.AWAITING_REVIEW,
    )
    assert result is not None
    assert result.ai_used
