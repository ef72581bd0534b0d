"""The rule alone, on answers made by hand: which losses refuse a candidate, and which do not."""

from dataclasses import replace

import numpy as np
import pytest

from ml.labels import CLASS_INDEX, CLASSES
from ml.promotion import SMALLEST_SUBGROUP, Answers, Truth, compare

MEL, NV = CLASS_INDEX["mel"], CLASS_INDEX["nv"]
PHOTOS = 100  # of each class, each of a lesion of its own
FEMALE, MALE = {"sex": "female"}, {"sex": "male"}


@pytest.fixture
def truth():
    labels = np.repeat(np.arange(len(CLASSES)), PHOTOS)
    return Truth(
        labels=labels,
        lesions=[f"L{number}" for number in range(len(labels))],
        subgroups=[FEMALE if number % 2 else MALE for number in range(len(labels))],
    )


@pytest.fixture
def live(truth):
    """Three of four right in each class; every melanoma found."""
    predicted = truth.labels.copy()
    wrong = np.arange(len(predicted)) // 2 % 4 == 0
    predicted[wrong] = (predicted[wrong] + 1) % len(CLASSES)
    return Answers(predicted=predicted, found=np.ones(len(predicted), dtype=bool))


def photos_of(truth, label, *, sex=None):
    wanted = [sex is None or groups == sex for groups in truth.subgroups]
    return np.flatnonzero((truth.labels == label) & wanted)


def missing(answers, photos):
    """The same answers, but these photos called routine."""
    found = answers.found.copy()
    found[photos] = False
    return replace(answers, found=found)


def mistaking(answers, truth, label, count):
    """The same answers, but `count` photos of a class that were right are now wrong."""
    predicted = answers.predicted.copy()
    right = np.flatnonzero((truth.labels == label) & (predicted == label))[:count]
    predicted[right] = (label + 1) % len(CLASSES)
    return replace(answers, predicted=predicted)


def fallen(truth, live, candidate):
    return [each.what for each in compare(truth, live, candidate) if each.fallen]


def test_a_bundle_holds_all_its_own_figures(truth, live):
    figures = compare(truth, live, live)
    assert not any(each.fallen for each in figures)
    assert {(each.low, each.high) for each in figures} == {(0.0, 0.0)}
    overall = [each.what for each in figures if "," not in each.what]
    assert overall == ["melanoma sensitivity", *(f"recall of {name}" for name in CLASSES)]
    assert len(figures) == 3 * len(overall)


def test_missed_melanomas_refuse_whatever_else_is_gained(truth, live):
    perfect = replace(live, predicted=truth.labels)
    candidate = missing(perfect, photos_of(truth, MEL)[:8])
    assert fallen(truth, live, candidate)[0] == "melanoma sensitivity"
    # Recall of melanoma has risen all the while: these are different figures.
    assert "recall of mel" not in fallen(truth, live, candidate)


def test_one_missed_melanoma_where_none_was_missed_is_chance(truth, live):
    assert fallen(truth, live, missing(live, photos_of(truth, MEL)[:1])) == []


@pytest.mark.parametrize("label", range(len(CLASSES)))
def test_a_loss_in_any_class_refuses_and_names_it(truth, live, label):
    candidate = mistaking(live, truth, label, 10)
    assert f"recall of {CLASSES[label]}" in fallen(truth, live, candidate)


def test_a_loss_that_gains_make_good_in_the_same_class_does_not_refuse(truth, live):
    candidate = mistaking(live, truth, NV, 10)
    predicted = candidate.predicted.copy()
    wrong = np.flatnonzero((truth.labels == NV) & (live.predicted != NV))[:10]
    predicted[wrong] = NV
    assert fallen(truth, live, replace(candidate, predicted=predicted)) == []


def test_a_loss_in_one_subgroup_refuses_though_the_whole_holds(truth, live):
    women, men = (photos_of(truth, MEL, sex=sex)[:8] for sex in (FEMALE, MALE))
    before, after = missing(live, men), missing(live, women)
    assert fallen(truth, before, after) == ["melanoma sensitivity, sex female"]


def test_a_subgroup_with_few_photos_of_a_class_is_not_judged_for_it(truth, live):
    rare = {"sex": "rare"}
    for number in photos_of(truth, MEL)[: SMALLEST_SUBGROUP - 1]:
        truth.subgroups[number] = rare
    judged = {each.what for each in compare(truth, live, live)}
    assert not [what for what in judged if "rare" in what]
    truth.subgroups[photos_of(truth, MEL)[SMALLEST_SUBGROUP - 1]] = rare
    judged = {each.what for each in compare(truth, live, live)}
    assert {what for what in judged if "rare" in what} == {
        "melanoma sensitivity, sex rare",
        "recall of mel, sex rare",
    }


def test_people_of_whom_nothing_is_known_are_no_subgroup(truth, live):
    unknown = replace(truth, subgroups=[{"sex": "unknown"}] * len(truth.labels))
    assert all("," not in each.what for each in compare(unknown, live, live))


def test_a_class_without_photos_is_not_judged(truth, live):
    seen = truth.labels != NV
    some = Truth(
        labels=truth.labels[seen],
        lesions=list(np.array(truth.lesions)[seen]),
        subgroups=list(np.array(truth.subgroups)[seen]),
    )
    answers = Answers(predicted=live.predicted[seen], found=live.found[seen])
    judged = {each.what for each in compare(some, answers, answers)}
    assert "recall of nv" not in judged
    assert "recall of mel" in judged


def test_photos_of_one_lesion_count_as_one_loss(truth, live):
    """Eight missed photos of eight lesions tell something, eight of one lesion next to nothing."""
    missed = photos_of(truth, MEL)[:8]
    candidate = missing(live, missed)
    lesions = list(truth.lesions)
    for number in missed:
        lesions[number] = "one"
    assert "melanoma sensitivity" in fallen(truth, live, candidate)
    assert "melanoma sensitivity" not in fallen(replace(truth, lesions=lesions), live, candidate)


def test_the_interval_is_about_that_of_the_formula(truth, live):
    """Mean loss 0.2 of 100 lesions: standard error 0.04."""
    candidate = missing(live, photos_of(truth, MEL)[:20])
    (figure, *_) = compare(truth, live, candidate)
    assert (figure.live, figure.candidate, figure.photos) == (1.0, 0.8, PHOTOS)
    assert figure.low == pytest.approx(-0.2 - 1.96 * 0.04, abs=0.02)
    assert figure.high == pytest.approx(-0.2 + 1.96 * 0.04, abs=0.02)
