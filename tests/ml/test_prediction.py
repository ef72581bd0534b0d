import pytest

from ml.labels import CLASSES, MALIGNANT, is_malignant
from ml.prediction import Prediction


def shares(**given):
    return dict.fromkeys(CLASSES, 0.0) | given


def test_the_malignant_probability_adds_melanoma_bcc_and_akiec():
    prediction = Prediction.of(
        probabilities=shares(mel=0.3, bcc=0.2, akiec=0.1, nv=0.4), members={"one": shares(nv=1.0)}
    )
    assert prediction.malignant_probability == pytest.approx(0.6)
    assert prediction.top_class == "nv"
    assert prediction.confidence == pytest.approx(0.4)


def test_members_that_agree_have_no_spread_and_opposed_ones_half():
    same = {"one": shares(nv=1.0), "two": shares(nv=1.0)}
    opposed = {"one": shares(nv=1.0), "two": shares(mel=1.0)}
    assert Prediction.of(probabilities=shares(nv=1.0), members=same).spread == 0.0
    assert Prediction.of(probabilities=shares(nv=1.0), members=opposed).spread == pytest.approx(0.5)


def test_classes_are_ranked_from_the_likeliest():
    prediction = Prediction.of(
        probabilities=shares(df=0.2, vasc=0.7, bkl=0.1), members={"one": shares(df=1.0)}
    )
    assert [name for name, _ in prediction.ranked()][:3] == ["vasc", "df", "bkl"]


@pytest.mark.parametrize(
    "bad", [{"nv": 1.0}, shares(nv=0.5), shares(nv=0.5) | {"wart": 0.5}], ids=str
)
def test_probabilities_that_are_none_are_refused(bad):
    with pytest.raises(ValueError, match="probabilities must"):
        Prediction(probabilities=bad, members={}, spread=0.0)


def test_malignancy_is_known_for_the_seven_classes_only():
    assert {name for name in CLASSES if is_malignant(name)} == MALIGNANT
    with pytest.raises(KeyError):
        is_malignant("wart")
