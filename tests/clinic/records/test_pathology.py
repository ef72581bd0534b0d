"""Pathology: what is awaited, what counts, and what the model is held to."""

from datetime import date

from clinic.pathology import PathologySource, ProvenCase, Specimen
from clinic.records import pathology, research
from clinic.records.models import SignedReport, Submission
from clinic.records.pathology import NewResult
from clinic.training_case import Truth
from tests.world import World

RESULT = NewResult(
    diagnosis="mel",
    icd10cm="C43.59",
    morphology="8720/3",
    specimen=Specimen.EXCISION,
    source=PathologySource.LABORATORY_REPORT,
    reported_on=date(2026, 11, 2),
    note=None,
)


def add(world: World, case: str, diagnosis: str = "mel") -> None:
    with world.sessions() as session, session.begin():
        row = session.get_one(Submission, case)
        result = NewResult(**{**vars(RESULT), "diagnosis": diagnosis})
        pathology.add(session, row, result, added_by=world.bob.account_id)


def for_biopsy(world: World, case: str) -> str:
    with world.sessions() as session, session.begin():
        report = session.query(SignedReport).filter_by(submission_id=case).one()
        report.plan = "biopsy"
    return case


def test_a_case_for_biopsy_is_awaited_until_its_result_is_there(world: World) -> None:
    world.signed(world.carol, world.bob)  # discharged: nothing is awaited
    case = for_biopsy(world, world.signed(world.alice, world.bob))

    def awaited() -> list[str]:
        with world.sessions() as session:
            found = pathology.awaited(session, clinic_id=world.clinic_id, limit=9)
            assert pathology.awaited(session, clinic_id=world.other_clinic_id, limit=9) == []
            return [one.submission.id for one in found]

    assert awaited() == [case]
    add(world, case)
    assert awaited() == []


def test_the_newest_result_counts_and_the_earlier_one_is_kept(world: World) -> None:
    case = world.signed(world.alice, world.bob)
    add(world, case, "nv")
    add(world, case, "mel")

    with world.sessions() as session:
        assert [one.diagnosis for one in pathology.of_case(session, case)] == ["nv", "mel"]
        assert pathology.newest(session, [case])[case].diagnosis == "mel"
        (proven,) = pathology.proven_cases(session, clinic_id=world.clinic_id)
    assert proven == ProvenCase("mel", "nv", "nv", "nv", "fake-1")


def test_a_case_learned_from_is_what_the_laboratory_found(world: World) -> None:
    world.decide_on_research(world.alice, permitted=True)
    proven, signed = (world.signed(world.alice, world.bob) for _ in range(2))
    outside = world.signed(world.alice, world.bob)
    add(world, proven)
    add(world, outside, "other")  # of no class of the model: nothing to learn

    with world.sessions() as session:
        cases = research.permitted_cases(session, clinic_id=world.clinic_id)
    truths = {one.report.submission_id: one.truth for one in cases}
    assert truths == {proven: Truth("mel", proven=True), signed: Truth("nv")}
