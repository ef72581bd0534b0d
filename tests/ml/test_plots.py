import numpy as np
import pytest
from PIL import Image

from ml.plots import evaluation_pictures, training_pictures


def is_drawn(path):
    with Image.open(path) as picture:
        return min(picture.size) > 400 and len(picture.convert("RGB").getcolors(1 << 24)) > 20


def test_an_evaluation_has_four_pictures(tmp_path):
    random = np.random.default_rng(0)
    probabilities = random.dirichlet(np.ones(7), size=60)
    evaluation_pictures(tmp_path, probabilities, np.arange(60) % 7, named=np.arange(60) % 5)
    names = ["confusion", "reliability", "risk_coverage", "roc"]
    assert [path.stem for path in sorted(tmp_path.iterdir())] == names
    assert all(is_drawn(path) for path in tmp_path.iterdir())


@pytest.mark.parametrize("old", [False, True])
def test_a_training_has_curves_of_accuracy_and_loss(tmp_path, old):
    """Runs of an older program did not record accuracy in training."""
    epochs = [
        {"epoch": epoch, "loss": 1.0 / epoch, "accuracy": 0.5, "held_out_loss": 0.8}
        for epoch in (1, 2, 3)
    ]
    if not old:
        epochs = [{**each, "training_accuracy": 0.6} for each in epochs]
    paths = training_pictures(tmp_path, {"basic_cnn": {"history": epochs}})
    assert [path.name for path in paths] == ["training_accuracy.png", "training_loss.png"]
    assert all(is_drawn(path) for path in paths)


def test_one_class_alone_still_draws(tmp_path):
    three = np.array([4, 4, 4])
    evaluation_pictures(tmp_path, np.full((3, 7), 1.0 / 7), three, named=three)
    assert is_drawn(tmp_path / "roc.png")
