"""Each check after a fault sees the wrong that it is there for, and nothing in a healthy clinic."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import delete, select, update

from clinic.audit_event import AuditAction
from clinic.keeper_protocol import ObjectKind
from clinic.records.db import new_id
from clinic.records.models import AuditEntry, ScreeningResult, SealedObject, Submission
from clinic.submission import CaseState, ScreeningState
from tests.browser_session import BrowserSession
from tests.portal_tools import change_row, row_of
from tests.world import World
from tools.chaos import canary, invariants
from tools.chaos.scene import Case, Ending


@pytest.fixture
def database_url(tmp_path: Path) -> str:
    """The checks read by the same statements everywhere; `make chaos` runs them on both."""
    return f"sqlite:///{tmp_path / 'records.db'}"


SignedIn = Callable[[str], BrowserSession]


@dataclass
class Desk:
    """A browser as the checks use one: pages as text."""

    browser: BrowserSession

    def get(self, path: str) -> str:
        return self.browser.get(path).text


def cases(*ids: str, endings: frozenset[Ending] = frozenset({Ending.DONE})) -> list[Case]:
    return [Case(one, None, endings) for one in ids]  # type: ignore[arg-type]


def lost(world: World, *given: Case) -> list[str]:
    with world.sessions() as session:
        return invariants.lost(session, given)


def not_one_result(world: World, *given: Case) -> list[str]:
    with world.sessions() as session:
        return invariants.not_one_result(session, given)


def change(world: World, *statements: object) -> None:
    with world.sessions() as session, session.begin():
        for one in statements:
            session.execute(one)


def test_a_finished_case_has_nothing_wrong(world: World) -> None:
    (case,) = cases(world.screened(world.alice))

    assert lost(world, case) == []
    assert not_one_result(world, case) == []
    with world.sessions() as session:
        assert invariants.broken_audit(session, world.auditor.key) == []


def test_a_case_without_a_row_is_lost(world: World) -> None:
    (case,) = cases(new_id())

    assert lost(world, case) == [f"Case {case.id} was accepted and has no row."]


def test_a_case_that_has_not_ended_is_not_settled(world: World) -> None:
    (case,) = cases(world.submit(world.alice))

    (found,) = lost(world, case)
    assert "is queued, received, attempt 0" in found
    assert not_one_result(world, case) == []


def test_a_dead_case_is_right_only_where_its_fault_says_so(world: World) -> None:
    case = world.submit(world.alice)
    dead = {"screening_state": ScreeningState.DEAD, "last_failure": "it crashed"}
    change_row(world, case, case_state=CaseState.AWAITING_REVIEW, urgency=1, **dead)

    (found,) = lost(world, *cases(case))
    assert "(it crashed) and not done" in found
    assert lost(world, *cases(case, endings=frozenset({Ending.DEAD}))) == []


def test_a_finished_case_without_its_result_is_seen(world: World) -> None:
    case = world.screened(world.alice)
    change(world, delete(ScreeningResult).where(ScreeningResult.submission_id == case))

    assert not_one_result(world, *cases(case)) == [f"Case {case} has 0 results and not 1."]


def test_a_case_that_was_finished_twice_is_seen(world: World) -> None:
    case = world.screened(world.alice)
    with world.sessions() as session, session.begin():
        world.auditor.record(session, AuditAction.SUBMISSION_SCREENED, "worker", submission_id=case)

    (found,) = not_one_result(world, *cases(case))
    assert "has 2 entries of a finished analysis" in found


@pytest.mark.parametrize("kind", [ObjectKind.RENDITION, ObjectKind.HEATMAP])
def test_a_picture_that_was_written_twice_is_seen(world: World, kind: ObjectKind) -> None:
    case = world.screened(world.alice)
    with world.sessions() as session, session.begin():
        row = session.scalars(
            select(SealedObject).where(
                SealedObject.submission_id == case, SealedObject.kind == kind
            )
        ).first()
        columns = {one.name: getattr(row, one.name) for one in SealedObject.__table__.columns}
        session.add(SealedObject(**{**columns, "id": new_id()}))

    (found,) = not_one_result(world, *cases(case))
    wanted = {ObjectKind.RENDITION: 1, ObjectKind.HEATMAP: 2}[kind]
    assert f"has {wanted + 1} pictures of kind {kind} and not {wanted}." in found


def test_a_changed_audit_entry_is_seen(world: World) -> None:
    world.screened(world.alice)
    change(world, update(AuditEntry).where(AuditEntry.sequence == 2).values(detail="another"))

    with world.sessions() as session:
        (found,) = invariants.broken_audit(session, world.auditor.key)
    assert found == "The audit chain does not hold: Entry 2 was changed."


def test_an_empty_audit_chain_is_no_chain_that_holds(world: World) -> None:
    with world.sessions() as session:
        assert session.scalar(select(AuditEntry)) is None
        assert invariants.broken_audit(session, world.auditor.key) != []


@pytest.mark.parametrize("name", [*canary.TEXT_MARKERS])
def test_a_canary_is_found_in_a_file_and_in_a_row(world: World, tmp_path: Path, name: str) -> None:
    folder, marker = tmp_path / "kept", canary.TEXT_MARKERS[name]
    folder.mkdir()
    (folder / "worker.log").write_bytes(b"opened " + marker + b"!")
    case = world.submit(world.alice)
    change(world, update(Submission).where(Submission.id == case).values(body_site=marker.decode()))

    in_files = canary.leaks(canary.stored_files(folder), canary.TEXT_MARKERS)
    with world.sessions() as session:
        in_rows = canary.leaks(canary.stored_rows(session), canary.TEXT_MARKERS)

    assert in_files == [f"The canary in the {name} stands in clear in worker.log."]
    assert in_rows == [f"The canary in the {name} stands in clear in table submission."]


def test_a_photo_is_found_by_its_pixels_as_sent_and_as_cleaned(tmp_path: Path) -> None:
    photo = canary.marked_photo(3)
    (tmp_path / "core").write_bytes(b"memory" + photo.data[100:] + b"memory")

    found = canary.leaks(canary.stored_files(tmp_path), photo.markers)

    assert found == ["The canary in the pixels of photo 3 stands in clear in core."]
    assert len(set(photo.markers.values())) == 2
    assert canary.PHOTO_COMMENT in photo.data


def test_a_healthy_clinic_shows_no_canary(world: World) -> None:
    world.screened(world.alice)
    with world.sessions() as session:
        assert canary.leaks(canary.stored_rows(session), canary.TEXT_MARKERS) == []


def patient_page(signed_in: SignedIn, case: str) -> str:
    return signed_in("alice").get(f"/cases/{case}").text


def test_the_patient_s_page_tells_the_truth_before_and_after(
    world: World, signed_in: SignedIn
) -> None:
    waiting = world.submit(world.alice)
    page = patient_page(signed_in, waiting)
    assert invariants.lies_of_a_patient_page(page, waiting, CaseState.RECEIVED) == []

    read = world.screened(world.alice)
    page = patient_page(signed_in, read)
    assert row_of(world, read).case_state == CaseState.AWAITING_REVIEW
    assert invariants.lies_of_a_patient_page(page, read, CaseState.AWAITING_REVIEW) == []


@pytest.mark.parametrize("other", [CaseState.RECEIVED, CaseState.UNREADABLE, CaseState.SIGNED])
def test_a_page_that_shows_another_state_lies(
    world: World, signed_in: SignedIn, other: CaseState
) -> None:
    case = world.screened(world.alice)

    (found,) = invariants.lies_of_a_patient_page(patient_page(signed_in, case), case, other)
    assert f"({other}) says ['Waiting for a doctor']" in found


@pytest.mark.parametrize("words", ["Melanoma", "basal cell carcinoma", "AI unavailable"])
def test_a_patient_s_page_with_the_computer_s_view_is_seen(
    world: World, signed_in: SignedIn, words: str
) -> None:
    case = world.screened(world.alice)
    page = patient_page(signed_in, case) + f"<p>{words}</p>"

    assert len(invariants.lies_of_a_patient_page(page, case, CaseState.AWAITING_REVIEW)) == 1


def queue(world: World, signed_in: SignedIn, *ids: str) -> list[str]:
    listed = invariants.queue_rows(Desk(signed_in("bob")))  # type: ignore[arg-type]
    return invariants.lies_of_the_queue(listed, {one: row_of(world, one) for one in ids})


def test_the_queue_lists_what_waits_over_all_of_its_pages(
    world: World, signed_in: SignedIn
) -> None:
    ids = [world.submit(world.alice) for _ in range(30)]
    for one in ids:
        change_row(
            world,
            one,
            case_state=CaseState.AWAITING_REVIEW,
            screening_state=ScreeningState.DEAD,
            last_failure="no worker",
            urgency=1,
        )
    received = world.submit(world.alice)

    assert queue(world, signed_in, *ids, received) == []


def test_a_queue_that_leaves_a_case_out_or_lists_one_too_many_lies(world: World) -> None:
    waits, received = world.screened(world.alice), world.submit(world.alice)
    rows = {one: row_of(world, one) for one in (waits, received)}

    assert invariants.lies_of_the_queue({received: ""}, rows) == [
        f"The queue does not list case {waits}, which is awaiting_review.",
        f"The queue lists case {received}, which is received.",
    ]


@pytest.mark.parametrize("html", ["AI unavailable", ""])
def test_a_queue_that_says_the_wrong_thing_of_the_computer_lies(world: World, html: str) -> None:
    analysed = world.screened(world.alice)
    dead = world.submit(world.alice)
    state = {"case_state": CaseState.AWAITING_REVIEW, "screening_state": ScreeningState.DEAD}
    change_row(world, dead, urgency=1, last_failure="no worker", **state)
    rows = {one: row_of(world, one) for one in (analysed, dead)}

    found = invariants.lies_of_the_queue(dict.fromkeys(rows, html), rows)

    assert len(found) == 1
    assert "does not say the truth on the computer" in found[0]
