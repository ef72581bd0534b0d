import csv
import json
import math
import sys

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from ml import train
from ml.folds import make_folds, read_metadata, write_folds
from ml.labels import CLASSES
from ml.members import MEMBERS, build_member
from tools.lesion_drawing import draw_lesion


def small_state(name="basic_cnn"):
    torch.manual_seed(0)
    member, average = build_member(MEMBERS[name]), build_member(MEMBERS[name])
    average.load_state_dict(member.state_dict())
    return train.State(member, average, train.make_optimizer(member, train.RECIPES[name]))


def small_batch():
    return torch.rand(8, 3, 64, 64), torch.arange(8) % 7


def test_the_learning_rate_warms_up_and_ends_at_nought():
    factors = [train.learning_rate_factor(done) for done in np.linspace(0.0, 1.0, 101)]
    assert factors[0] < 0.1
    assert max(factors) == pytest.approx(1.0)
    assert factors[-1] == pytest.approx(0.0, abs=1e-9)
    assert factors[3:] == sorted(factors[3:], reverse=True)


def test_a_few_steps_on_one_batch_lower_the_loss():
    state, batch = small_state(), small_batch()
    train.set_learning_rate(state.optimizer, 1.0)
    losses = [train.train_step(state, batch, train.RECIPES["basic_cnn"]) for _ in range(12)]
    assert losses[-1] < losses[0] - 0.3
    assert state.step == 12


def test_a_loss_that_is_no_number_stops_with_advice():
    state = small_state()
    images = torch.full((4, 3, 64, 64), math.nan)
    with pytest.raises(train.TrainingError, match="loss became nan: lower --body-rate"):
        train.train_step(state, (images, torch.arange(4)), train.RECIPES["basic_cnn"])


def test_the_average_follows_the_weights_slowly():
    state = small_state()
    with torch.no_grad():
        state.member.head.bias.add_(1.0)
    before = state.average.head.bias.clone()
    train.update_average(state.average, state.member, decay=0.9, step=10_000)
    assert torch.allclose(state.average.head.bias - before, torch.full((7,), 0.1), atol=1e-5)


def test_a_run_resumes_exactly_where_its_checkpoint_was_written(tmp_path):
    first, batch = small_state(), small_batch()
    recipe = train.RECIPES["basic_cnn"]
    first.member.dropout.p = 0.0
    for _ in range(3):
        train.train_step(first, batch, recipe)
    first.seconds, first.epoch, first.history = 12.5, 1, [{"epoch": 1.0, "bma": 0.3}]
    first.save(tmp_path / "checkpoint.safetensors")

    second = small_state()
    second.member.dropout.p = 0.0
    second.restore(tmp_path / "checkpoint.safetensors")
    assert (second.seconds, second.epoch, second.step) == (12.5, 1, 3)
    assert second.history == first.history
    assert train.train_step(second, batch, recipe) == train.train_step(first, batch, recipe)
    for one, other in zip(first.average.parameters(), second.average.parameters(), strict=True):
        assert torch.equal(one, other)


@pytest.fixture
def data(tmp_path):
    """Thirty-five lesions, five of each class, drawn small."""
    root = tmp_path / "data"
    root.mkdir()
    with (root / "metadata.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("lesion_id", "image_id", "dx"))
        for number in range(70):
            name = CLASSES[number % 7]
            writer.writerow((f"HAM_{number}", f"ISIC_{number}", name))
            draw_lesion(number, (200, 150)).save(root / f"ISIC_{number}.jpg")
    write_folds(make_folds(read_metadata(root / "metadata.csv")), root / "folds.csv")
    return root


@pytest.mark.slow
def test_a_short_run_leaves_weights_curves_and_its_origin(data, tmp_path, monkeypatch, capsys):
    out = tmp_path / "run"
    command = ["ml.train", "--member", "basic_cnn", "--minutes", "0.05", "--out", str(out)]
    command += ["--images", str(data), "--metadata", str(data / "metadata.csv")]
    command += ["--folds", str(data / "folds.csv"), "--cache", str(tmp_path / "cache")]
    command += ["--backbones", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", command)
    train.main()
    run = json.loads((out / "run.json").read_text())
    assert run["steps"] > 0
    assert run["history"][-1]["step"] == run["steps"]
    assert run["provenance"]["data_sha256"]
    assert run["provenance"]["seed"] == 1
    assert "--member basic_cnn" in run["provenance"]["command"]
    member = build_member(MEMBERS["basic_cnn"])
    member.load_state_dict(load_file(out / "member.safetensors"))
    shown = capsys.readouterr().out
    assert "lesions with a sharp image" in shown
    assert "BMA" in shown
    assert "ETA" in shown
