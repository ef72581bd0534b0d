from dataclasses import replace

import pytest

from clinic.abcde import Criterion, abcde
from clinic.intake import Answer, History, SevenPoint, Symptom
from tests.world import history

NOTHING = replace(
    history(),
    seven_point=dict.fromkeys(SevenPoint, Answer.NO),
    symptoms=dict.fromkeys(Symptom, Answer.NO),
)


def answering(**given: Answer) -> History:
    points = {item: given.get(item.value, Answer.NO) for item in SevenPoint}
    signs = {sign: given.get(sign.value, Answer.NO) for sign in Symptom}
    return replace(NOTHING, seven_point=points, symptoms=signs)


@pytest.mark.parametrize(
    ("question", "criteria"),
    [
        ("irregular_shape", {Criterion.ASYMMETRY, Criterion.BORDER}),
        ("irregular_colour", {Criterion.COLOUR}),
        ("diameter_7_mm", {Criterion.DIAMETER}),
        ("change_in_size", {Criterion.EVOLVING}),
        ("change_in_sensation", {Criterion.EVOLVING}),
        ("pink_and_changing", {Criterion.EVOLVING}),
        ("firm_growing_lump", {Criterion.EVOLVING}),
        ("new_nail_streak", {Criterion.EVOLVING}),
        ("bleeding", set()),
        ("inflammation", set()),
    ],
)
@pytest.mark.parametrize("answer", [Answer.YES, Answer.UNKNOWN])
def test_each_answer_counts_for_its_letters(
    question: str, criteria: set[Criterion], answer: Answer
) -> None:
    found = abcde(answering(**{question: answer}))
    assert found == {one: answer if one in criteria else Answer.NO for one in Criterion}


def test_one_yes_outweighs_what_the_patient_does_not_know() -> None:
    known = answering(change_in_size=Answer.YES, pink_and_changing=Answer.UNKNOWN)
    assert abcde(known)[Criterion.EVOLVING] is Answer.YES


def test_a_question_that_was_never_asked_is_not_answered_with_no() -> None:
    silent = replace(NOTHING, seven_point={}, symptoms={})
    assert set(abcde(silent).values()) == {Answer.UNKNOWN}
