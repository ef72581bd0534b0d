from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml.labels import CLASSES, MALIGNANT
from ml.prediction import Prediction
from ml.quality_flag import QualityFlag
from ml.triage import (
    Triage,
    Urgency,
    expected_cost,
    most_urgent,
    triage,
    triage_without_ai,
)
from tests.fakes import POLICY


def prediction_of(spread=0.0, **shares):
    probabilities = dict.fromkeys(CLASSES, 0.0) | shares
    return Prediction(probabilities=probabilities, members={}, spread=spread)


@st.composite
def predictions(draw):
    weights = [draw(st.floats(0.001, 1.0)) for _ in CLASSES]
    shares = {name: weight / sum(weights) for name, weight in zip(CLASSES, weights, strict=True)}
    return prediction_of(draw(st.floats(0.0, 1.0)), **shares)


flags = st.sets(st.sampled_from(QualityFlag))


def test_a_clear_nevus_is_routine_and_says_that_a_person_reviews_it():
    decided = triage(prediction_of(nv=0.95, mel=0.05), POLICY)
    assert decided.urgency is Urgency.ROUTINE
    assert "dermatologist reviews" in decided.reasons[0]


@pytest.mark.parametrize("name", sorted(MALIGNANT))
def test_each_malignant_class_counts_towards_the_marks(name):
    assert triage(prediction_of(**{name: 0.2, "nv": 0.8}), POLICY).urgency is Urgency.SUSPICIOUS
    assert triage(prediction_of(**{name: 0.6, "nv": 0.4}), POLICY).urgency is Urgency.URGENT


def test_malignant_shares_are_added_up():
    shares = {"mel": 0.25, "bcc": 0.2, "akiec": 0.2, "nv": 0.35}
    assert triage(prediction_of(**shares), POLICY).urgency is Urgency.URGENT


def test_three_points_of_the_history_outweigh_a_calm_ai():
    calm = prediction_of(nv=1.0)
    assert triage(calm, POLICY, seven_point_score=2).urgency is Urgency.ROUTINE
    decided = triage(calm, POLICY, seven_point_score=3)
    assert decided.urgency is Urgency.URGENT
    assert "3 points" in decided.reasons[0]


def test_strong_concern_is_urgent():
    decided = triage(prediction_of(nv=1.0), POLICY, strong_concern=True)
    assert decided.urgency is Urgency.URGENT


def test_low_confidence_and_disagreement_are_suspicious_each_with_its_reason():
    unsure = triage(prediction_of(nv=0.39, bkl=0.31, df=0.3), POLICY)
    assert unsure.urgency is Urgency.SUSPICIOUS
    assert "not sure" in unsure.reasons[0]
    split = triage(prediction_of(spread=0.41, nv=1.0), POLICY)
    assert split.urgency is Urgency.SUSPICIOUS
    assert "disagree" in split.reasons[0]


def test_a_malignant_class_in_the_prediction_set_is_suspicious_and_named():
    calm = prediction_of(nv=0.95, bcc=0.05)
    assert triage(calm, POLICY).urgency is Urgency.ROUTINE
    held = replace(calm, sets={"0.90": ("nv", "bcc"), "0.95": ("nv", "bcc", "mel")})
    decided = triage(held, POLICY)
    assert decided.urgency is Urgency.SUSPICIOUS
    assert decided.reasons == ("The AI cannot rule out: Basal cell carcinoma.",)


def test_a_malignant_class_named_for_equal_prevalence_is_suspicious_though_not_the_likeliest():
    named = replace(prediction_of(nv=0.9, mel=0.1), named_class="mel")
    decided = triage(named, POLICY)
    assert decided.urgency is Urgency.SUSPICIOUS
    assert decided.reasons == ("If all groups were equally common, the AI would name: Melanoma.",)
    assert triage(replace(named, named_class="nv"), POLICY).urgency is Urgency.ROUTINE


def test_a_costly_doubt_makes_the_ai_abstain():
    """Two chances in a hundred of melanoma cost 0.4 needless looks, by the twentyfold price."""
    careful = replace(POLICY, abstain_cost=0.3)
    assert triage(prediction_of(nv=0.99, mel=0.01), careful).urgency is Urgency.ROUTINE
    decided = triage(prediction_of(nv=0.98, mel=0.02), careful)
    assert decided.urgency is Urgency.SUSPICIOUS
    assert "abstains" in decided.reasons[0]


def test_the_expected_cost_is_that_of_the_cheaper_answer():
    assert expected_cost(prediction_of(nv=1.0)) == 0.0
    assert expected_cost(prediction_of(mel=1.0)) == 0.0
    assert expected_cost(prediction_of(nv=0.98, mel=0.02)) == pytest.approx(0.4)
    assert expected_cost(prediction_of(nv=0.5, mel=0.5)) == pytest.approx(0.5)
    assert expected_cost(prediction_of(nv=0.9, bcc=0.1)) == pytest.approx(0.5)


def test_an_unusual_photo_and_one_without_skin_are_suspicious_each_with_its_reason():
    unusual = triage(replace(prediction_of(nv=1.0), outlier_score=3.1), POLICY)
    assert unusual.urgency is Urgency.SUSPICIOUS
    assert "unlike those" in unusual.reasons[0]
    strange = triage(replace(prediction_of(nv=1.0), outlier_score=9.1), POLICY)
    assert strange.urgency is Urgency.SUSPICIOUS
    assert "does not look like skin" in strange.reasons[0]


def test_the_reason_that_set_the_urgency_stands_first():
    decided = triage(prediction_of(mel=0.9, nv=0.1), POLICY, quality_flags=[QualityFlag.BLURRED])
    assert decided.urgency is Urgency.URGENT
    assert "malignant" in decided.reasons[0]
    assert "blurred" in decided.reasons[1]


@given(predictions(), flags, flags, st.integers(0, 8), st.integers(0, 8), st.booleans())
def test_no_doubt_ever_lowers_the_urgency(prediction, some, more, score, extra, concern):
    before = triage(prediction, POLICY, quality_flags=some, seven_point_score=score)
    after = triage(
        prediction,
        POLICY,
        quality_flags=some | more,
        seven_point_score=score + extra,
        strong_concern=concern,
    )
    assert after.urgency.rank >= before.urgency.rank
    assert set(before.reasons) <= set(after.reasons) or before.urgency is Urgency.ROUTINE or extra


@given(predictions(), st.floats(0.0, 1.0))
def test_more_disagreement_never_lowers_the_urgency(prediction, more):
    wider = Prediction(
        probabilities=prediction.probabilities,
        members={},
        spread=min(1.0, prediction.spread + more),
    )
    assert triage(wider, POLICY).urgency.rank >= triage(prediction, POLICY).urgency.rank


@given(predictions(), st.sets(st.sampled_from(CLASSES)), st.floats(0.0, 20.0))
def test_neither_a_larger_set_nor_a_stranger_photo_lowers_the_urgency(prediction, names, score):
    doubted = replace(prediction, sets={"0.90": tuple(names)}, outlier_score=score)
    assert triage(doubted, POLICY).urgency.rank >= triage(prediction, POLICY).urgency.rank


@given(predictions(), st.floats(0.0, 1.0))
def test_moving_belief_from_nevus_to_melanoma_never_lowers_a_marked_case(prediction, share):
    moved = dict(prediction.probabilities)
    step = moved["nv"] * share
    moved["nv"] -= step
    moved["mel"] += step
    shifted = triage(Prediction(probabilities=moved, members={}, spread=0.0), POLICY)
    if prediction.malignant_probability >= POLICY.suspicious_malignant:
        assert shifted.urgency.rank >= Urgency.SUSPICIOUS.rank
    if prediction.malignant_probability >= POLICY.urgent_malignant:
        assert shifted.urgency is Urgency.URGENT


@given(predictions(), flags, st.integers(0, 8))
def test_every_decision_gives_a_reason(prediction, some, score):
    decided = triage(prediction, POLICY, quality_flags=some, seven_point_score=score)
    assert decided.reasons
    assert all(reason.strip() for reason in decided.reasons)


def test_without_ai_a_case_is_never_routine_and_says_why():
    decided = triage_without_ai("the weights are damaged.")
    assert decided.urgency is Urgency.SUSPICIOUS
    assert decided.reasons == ("AI unavailable: the weights are damaged.",)


def test_without_ai_the_history_still_makes_a_case_urgent():
    assert triage_without_ai("no weights.", seven_point_score=3).urgency is Urgency.URGENT
    assert triage_without_ai("no weights.", strong_concern=True).urgency is Urgency.URGENT


def test_of_several_photos_the_most_urgent_one_decides():
    calm = Triage(Urgency.ROUTINE, ("calm",))
    alarmed = Triage(Urgency.URGENT, ("alarm", "calm"))
    assert most_urgent([calm, alarmed]) == Triage(Urgency.URGENT, ("alarm", "calm"))


def test_a_policy_with_crossed_marks_is_refused():
    with pytest.raises(ValueError, match="suspicious <= urgent"):
        replace(POLICY, suspicious_malignant=0.7)


def test_a_policy_that_takes_the_unusual_for_stranger_than_no_skin_is_refused():
    with pytest.raises(ValueError, match="unusual <= not skin"):
        replace(POLICY, unusual=10.0)
