import itertools
import json
from dataclasses import replace

import pytest

from clinic.body_site import BodyLocation, BodySite, Side
from clinic.intake import (
    MAX_TEXT_LENGTH,
    Answer,
    EmergencySign,
    History,
    HistoryInvalid,
    Onset,
    SevenPoint,
    Sex,
    SkinType,
    StopKind,
    Symptom,
    highest_possible_score,
    seven_point_score,
    stop_rules,
    unknown_answers,
    urgent_reasons,
    urgent_route,
)

MAJOR = ("change_in_size", "irregular_shape", "irregular_colour")
CALM = History(
    age=44,
    sex=Sex.FEMALE,
    skin_type=SkinType.V,
    location=BodyLocation(BodySite.BACK, Side.LEFT, "below the shoulder"),
    onset=Onset.MONTHS,
    seven_point=dict.fromkeys(SevenPoint, Answer.NO),
    symptoms=dict.fromkeys(Symptom, Answer.NO),
    own_skin_cancer=Answer.NO,
    family_skin_cancer=Answer.UNKNOWN,
    immunosuppressed=Answer.NO,
    medicines="none",
    notes="It itches at night.",
)


@pytest.mark.parametrize("yes_no", list(itertools.product([False, True], repeat=7)))
def test_the_score_of_every_set_of_answers(yes_no: tuple[bool, ...]) -> None:
    answers = {
        item: Answer.YES if is_yes else Answer.NO
        for item, is_yes in zip(SevenPoint, yes_no, strict=True)
    }
    expected = sum(
        (2 if item.value in MAJOR else 1)
        for item, is_yes in zip(SevenPoint, yes_no, strict=True)
        if is_yes
    )

    assert seven_point_score(answers) == expected
    assert urgent_route(replace(CALM, seven_point=answers)) is (expected >= 3)


def test_an_unknown_answer_scores_nothing_but_is_kept_for_the_reader() -> None:
    answers = {**CALM.seven_point, SevenPoint.IRREGULAR_SHAPE: Answer.UNKNOWN}
    history = replace(CALM, seven_point=answers)

    assert history.score == 0
    assert highest_possible_score(answers) == 2
    assert unknown_answers(history) == (SevenPoint.IRREGULAR_SHAPE,)


def test_a_missing_answer_counts_as_unknown() -> None:
    history = replace(CALM, seven_point={}, symptoms={})

    assert history.unknown_answers == (*SevenPoint, *Symptom)
    assert highest_possible_score({}) == 10


@pytest.mark.parametrize(
    "symptom",
    [
        Symptom.NOT_HEALING_4_WEEKS,
        Symptom.FIRM_GROWING_LUMP,
        Symptom.PINK_AND_CHANGING,
        Symptom.NEW_NAIL_STREAK,
    ],
)
def test_a_warning_symptom_alone_is_enough_for_the_urgent_route(symptom: Symptom) -> None:
    history = replace(CALM, symptoms={**CALM.symptoms, symptom: Answer.YES})

    assert urgent_route(history)


def test_bleeding_alone_is_shown_to_the_reader_but_is_not_urgent() -> None:
    history = replace(CALM, symptoms={**CALM.symptoms, Symptom.BLEEDING: Answer.YES})

    assert not urgent_route(history)


def test_a_strong_concern_is_enough_for_the_urgent_route_but_blanks_are_not() -> None:
    assert urgent_route(replace(CALM, strong_concern="My mother died of melanoma."))
    assert not urgent_route(replace(CALM, strong_concern="  \n"))


def test_the_urgent_route_gives_its_reasons() -> None:
    answers = {
        **CALM.seven_point,
        SevenPoint.CHANGE_IN_SIZE: Answer.YES,
        SevenPoint.OOZING: Answer.YES,
    }
    history = replace(CALM, seven_point=answers, strong_concern="It looks like my father's.")

    assert urgent_reasons(history) == (
        "7-point score 3 (limit 3)",
        "strong concern of the patient",
    )


def codes(history: History) -> list[str]:
    return [rule.code for rule in stop_rules(history)]


def at(site: BodySite) -> BodyLocation:
    return BodyLocation(site)


def test_an_ordinary_case_meets_no_stop_rule() -> None:
    assert stop_rules(CALM) == ()


@pytest.mark.parametrize("sign", list(EmergencySign))
def test_each_emergency_sign_ends_in_the_emergency_card(sign: EmergencySign) -> None:
    rules = stop_rules(replace(CALM, emergency_signs=frozenset({sign})))

    assert [rule.kind for rule in rules] == [StopKind.EMERGENCY]


@pytest.mark.parametrize(
    ("history", "code"),
    [
        (replace(CALM, location=at(BodySite.GENITAL)), "intimate_area"),
        (
            replace(CALM, age=9, responsible_adult="A. Parent", location=at(BodySite.BUTTOCK)),
            "intimate_area",
        ),
        (replace(CALM, age=17), "minor_without_adult"),
        (replace(CALM, age=17, responsible_adult=" "), "minor_without_adult"),
        (replace(CALM, spot_count=3), "too_many_spots"),
        (replace(CALM, can_be_photographed=False), "no_photo_possible"),
    ],
)
def test_what_cannot_be_read_from_afar_is_sent_to_a_visit(history: History, code: str) -> None:
    assert codes(history) == [code]
    assert stop_rules(history)[0].kind is StopKind.IN_PERSON


@pytest.mark.parametrize(
    "history",
    [
        replace(CALM, age=18),
        replace(CALM, age=17, responsible_adult="A. Parent"),
        replace(CALM, spot_count=2),
        replace(CALM, location=at(BodySite.BUTTOCK)),
    ],
)
def test_the_edge_cases_of_the_stop_rules_go_on(history: History) -> None:
    assert stop_rules(history) == ()


def test_the_emergency_comes_before_every_other_card() -> None:
    history = replace(
        CALM,
        location=at(BodySite.GENITAL),
        spot_count=9,
        emergency_signs=frozenset({EmergencySign.BLISTERS}),
    )

    assert codes(history) == ["emergency_signs", "intimate_area", "too_many_spots"]


def test_a_history_survives_the_way_through_json() -> None:
    history = replace(CALM, emergency_signs=frozenset(EmergencySign), age=0, spot_count=2)

    assert History.from_dict(json.loads(json.dumps(history.to_dict()))) == history


@pytest.mark.parametrize(
    ("field", "value", "sentence"),
    [
        ("version", 2, "The history must be of version 1."),
        ("age", -1, "Age must be a whole number from 0 to 120."),
        ("age", True, "Age must be a whole number from 0 to 120."),
        ("age", "44", "Age must be a whole number from 0 to 120."),
        ("spot_count", 0, "Spot count must be a whole number from 1 to 99."),
        ("sex", "x", "Sex must be one of: female, male, other, undisclosed."),
        ("sex", None, "Sex must be one of: female, male, other, undisclosed."),
        ("side", ["left"], "Side must be one of: left, right, middle, not_applicable."),
        ("own_skin_cancer", "maybe", "Own skin cancer must be one of: yes, no, unknown."),
        ("seven_point", [], "Seven point must hold one answer per question."),
        ("seven_point", {"growth": "yes"}, "Seven point has no question 'growth'."),
        ("symptoms", "none", "Symptoms must hold one answer per question."),
        ("emergency_signs", "blisters", "Emergency signs must be a list."),
        ("can_be_photographed", "no", "Can be photographed must be true or false."),
        ("notes", 5, "Notes must be text."),
        ("notes", "x" * (MAX_TEXT_LENGTH + 1), "Notes must be 2000 characters or fewer."),
    ],
)
def test_a_wrong_value_is_refused_with_one_clear_sentence(
    field: str, value: object, sentence: str
) -> None:
    with pytest.raises(HistoryInvalid) as refusal:
        History.from_dict({**CALM.to_dict(), field: value})

    assert refusal.value.errors == {field: sentence}


def test_a_wrong_answer_is_named_by_its_question() -> None:
    raw = CALM.to_dict()
    raw["seven_point"]["oozing"] = "perhaps"

    with pytest.raises(HistoryInvalid) as refusal:
        History.from_dict(raw)

    assert refusal.value.errors == {"oozing": "Oozing must be one of: yes, no, unknown."}


def test_all_wrong_fields_are_reported_at_once() -> None:
    with pytest.raises(HistoryInvalid) as refusal:
        History.from_dict({**CALM.to_dict(), "age": 999, "onset": "soon", "medicines": []})

    assert sorted(refusal.value.errors) == ["age", "medicines", "onset"]


def test_an_empty_record_is_refused_and_not_filled_with_guesses() -> None:
    with pytest.raises(HistoryInvalid) as refusal:
        History.from_dict({})

    assert {"version", "age", "site", "seven_point"} <= set(refusal.value.errors)


def test_the_answers_of_a_history_cannot_be_changed_afterwards() -> None:
    given = dict.fromkeys(SevenPoint, Answer.NO)
    history = replace(CALM, seven_point=given)

    given[SevenPoint.OOZING] = Answer.YES

    assert history.score == 0
    with pytest.raises(TypeError):
        history.seven_point[SevenPoint.OOZING] = Answer.YES  # type: ignore[index]


@pytest.mark.parametrize("kind", [Answer, Sex, SkinType, Onset, SevenPoint, Symptom, EmergencySign])
def test_every_choice_has_a_label_of_its_own(kind: type) -> None:
    labels = [member.label for member in kind]

    assert all(labels)
    assert len(set(labels)) == len(labels)
