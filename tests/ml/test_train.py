import hashlib
import json
import sys
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch.utils._python_dispatch import TorchDispatchMode

from ml import members, train, training_data
from ml.folds import METADATA_NAME, read_folds
from ml.held_out import read_held_out
from ml.members import PooledClassifier, build_member
from ml.recipes import CPU_RECIPES, GPU_RECIPES
from ml.training_manifest import TrainingCase, write_training_manifest
from tests.drawn_data import write_drawn_data

CNN = ("--member", "basic_cnn")
FORWARD = PooledClassifier.forward


def sha256(data):
    return hashlib.sha256(data).hexdigest()


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_drawn_data(tmp_path_factory.mktemp("drawn") / "data")


def shrunk(recipes):
    """Recipes with pictures and batches that a test can afford."""
    sizes = {"basic_cnn": 32, "efficientnet_b0": 32, "inception_v3": 75}
    return {
        name: replace(recipe, config=replace(recipe.config, input_size=sizes[name]), batch=16)
        for name, recipe in recipes.items()
    }


@pytest.fixture
def run(data, tmp_path, monkeypatch):
    """Run the program on the drawn data with these words of the command line."""
    recipes = {"cpu": shrunk(CPU_RECIPES), "gpu": shrunk(GPU_RECIPES)}
    monkeypatch.setattr(train, "RECIPES", recipes)

    def run_with(*words):
        command = ["ml.train", *words, "--images", str(data), "--folds", str(data / "folds.csv")]
        command += ["--cache", str(data / "cache"), "--backbones", str(tmp_path)]
        monkeypatch.setattr(sys, "argv", command)
        train.main()

    return run_with


def test_a_run_by_the_clock_leaves_weights_curves_and_its_origin(run, tmp_path, capsys):
    out = tmp_path / "run"
    run(*CNN, "--minutes", "0.005", "--out", str(out))
    written = json.loads((out / "run.json").read_text())
    recipe = train.RECIPES["cpu"]["basic_cnn"]
    assert written["steps"] > 0
    assert written["seconds"] >= 0.3
    assert written["history"][-1]["step"] == written["steps"]
    assert written["config"] == json.loads(json.dumps(asdict(recipe.config)))
    assert written["batches"] == [16]
    origin = written["provenance"]
    assert origin["command"].startswith("python -m ml.train --member basic_cnn")
    assert {"commit", "dirty", "data_sha256", "folds_sha256", "versions", "device"} <= set(origin)
    assert (origin["seed"], origin["held_out_fold"], origin["added"]) == (1, 0, [])
    assert (origin["start"], origin["start_sha256"]) == ("random weights", None)
    assert origin["imbalance"] == "soft_sampling_and_adjustment"
    build_member(recipe.config).load_state_dict(load_file(out / "member.safetensors"))
    shown = capsys.readouterr().out
    assert "lesions with a sharp image" in shown
    assert "epoch 1.0  loss" in shown
    assert "BMA 0." in shown
    assert "ETA 0.0 min" in shown


def test_the_held_out_logits_are_those_of_the_best_weights_on_every_image_of_the_fold(
    run, data, tmp_path
):
    out = tmp_path / "run"
    run(*CNN, "--epochs", "2", "--fold", "3", "--out", str(out))
    predicted = read_held_out(out / "held_out.safetensors")
    places = read_folds(data / "folds.csv")
    fold = {image_id for image_id, place in places.items() if place.fold == 3}
    assert set(predicted.image_ids) == fold
    assert predicted.logits.shape == (len(fold), 7)
    assert predicted.logits.dtype == np.float32
    chosen = [
        index
        for index, image_id in enumerate(predicted.image_ids)
        if places[image_id].half == "calibrate"
    ]
    truth = [int(predicted.image_ids[index].removeprefix("ISIC_")) % 7 for index in chosen]
    hits = predicted.logits[chosen].argmax(axis=1) == truth
    bma = np.mean([hits[np.array(truth) == label].mean() for label in set(truth)])
    written = json.loads((out / "run.json").read_text())
    assert written["best_bma"] == pytest.approx(bma)
    assert written["best_bma"] == max(row["bma"] for row in written["history"])


def test_a_worse_epoch_does_not_replace_the_weights(run, tmp_path, monkeypatch):
    weights = tmp_path / "run" / "member.safetensors"
    judged = []

    def worse_and_worse(_probabilities, _labels):
        judged.append(weights.read_bytes() if weights.exists() else None)
        return 0.5 - 0.1 * len(judged)

    monkeypatch.setattr(train, "balanced_accuracy", worse_and_worse)
    run(*CNN, "--epochs", "2", "--out", str(tmp_path / "run"))
    assert judged[0] is None
    assert weights.read_bytes() == judged[1]
    assert json.loads((tmp_path / "run" / "run.json").read_text())["best_bma"] == 0.4


class Interrupted(Exception):
    pass


def test_an_interrupted_run_resumes_to_the_weights_of_one_that_was_not(run, tmp_path, monkeypatch):
    run(*CNN, "--epochs", "3", "--out", str(tmp_path / "whole"))
    epochs = []
    judge = train.judge_epoch

    def interrupt(*arguments, **options):
        epochs.append(1)
        if len(epochs) == 2:
            raise Interrupted
        judge(*arguments, **options)

    monkeypatch.setattr(train, "judge_epoch", interrupt)
    with pytest.raises(Interrupted):
        run(*CNN, "--epochs", "3", "--out", str(tmp_path / "cut"))
    assert not (tmp_path / "cut" / "run.json").exists()
    run(*CNN, "--epochs", "3", "--out", str(tmp_path / "cut"), "--resume")
    assert len(epochs) == 4
    whole, cut = (
        load_file(tmp_path / name / "checkpoint.safetensors") for name in ("whole", "cut")
    )
    for name, tensor in whole.items():
        assert torch.allclose(tensor, cut[name], atol=1e-6), name


def test_the_gpu_recipe_trains_each_fold_and_skips_the_finished_ones_on_resume(
    run, tmp_path, capsys
):
    words = ("--recipe", "gpu", "--device", "cpu", *CNN, "--epochs", "1", "--out", str(tmp_path))
    run(*words)
    folders = [tmp_path / "basic_cnn" / f"fold{fold}" for fold in range(5)]
    held_out = [read_held_out(folder / "held_out.safetensors").image_ids for folder in folders]
    assert len({image_id for image_ids in held_out for image_id in image_ids}) == 70
    for fold, folder in enumerate(folders):
        written = json.loads((folder / "run.json").read_text())
        assert written["provenance"]["held_out_fold"] == fold
        assert written["provenance"]["recipe"]["bfloat16"]
        assert len(written["history"]) == 1
    (folders[2] / "run.json").unlink()
    before = [(folder / "member.safetensors").stat().st_mtime_ns for folder in folders]
    capsys.readouterr()
    run(*words, "--resume")
    assert capsys.readouterr().out.count("is finished") == 4
    assert (folders[2] / "run.json").exists()
    assert before == [(folder / "member.safetensors").stat().st_mtime_ns for folder in folders]


def test_one_command_trains_three_members_on_five_folds(run, tmp_path, monkeypatch):
    """With three bodies alike and small: what is tried here is the set, not the networks."""
    small = members._BODIES["basic_cnn"]
    monkeypatch.setattr(members, "_BODIES", dict.fromkeys(members.MEMBERS, small))
    run("--recipe", "gpu", "--device", "cpu", "--epochs", "0.1", "--out", str(tmp_path))
    runs = sorted(tmp_path.glob("*/fold?/run.json"))
    assert len(runs) == 15
    for path in runs:
        written = json.loads(path.read_text())
        assert written["member"] == written["config"]["name"] == path.parts[-3]
        for name in ("member", "checkpoint", "held_out"):
            assert (path.parent / f"{name}.safetensors").exists()


@pytest.mark.slow
def test_each_network_takes_a_step_of_the_gpu_recipe(run, tmp_path):
    one_step = ("--fold", "0", "--epochs", "0.01", "--out", str(tmp_path))
    run("--recipe", "gpu", "--device", "cpu", *one_step)
    for name in GPU_RECIPES:
        written = json.loads((tmp_path / name / "fold0" / "run.json").read_text())
        assert written["steps"] == 1
        assert np.isfinite(written["history"][0]["loss"])


WAITS = {"_local_scalar_dense", "nonzero", "masked_select", "lift_fresh", "equal"}


class Operations(TorchDispatchMode):
    """Notes those operations that need a value of the device, or bring one there, at once."""

    def __init__(self):
        super().__init__()
        self.count = 0
        self.waiting = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        indexes = args[1] if name in {"index", "index_put_"} else ()
        masked = any(index is not None and index.dtype == torch.bool for index in indexes)
        self.count += 1
        if name in WAITS or masked:
            self.waiting.append(name)
        return func(*args, **(kwargs or {}))


def test_a_step_of_the_gpu_recipe_never_waits_for_the_device(run, tmp_path, monkeypatch):
    """On a CPU too the operations can be told that would make the host wait for a GPU."""
    learn, send = train.learn, training_data._send
    seen, sent = [], []

    def watched(*arguments):
        sent.clear()
        with Operations() as operations:
            result = learn(*arguments)
        # The drawn indexes are sent from pinned memory, and nothing else is.
        seen.append((operations, ["lift_fresh"] * len(sent)))
        return result

    monkeypatch.setattr(train, "learn", watched)
    monkeypatch.setattr(
        training_data, "_send", lambda *arguments: sent.append(1) or send(*arguments)
    )
    words = ("--fold", "0", "--epochs", "1", "--out", str(tmp_path))
    run("--recipe", "gpu", "--device", "cpu", *CNN, *words)
    assert len(seen) == 3
    for operations, allowed in seen[1:]:
        assert operations.count > 100
        assert operations.waiting == allowed


def test_without_a_gpu_the_gpu_recipe_says_what_to_do_instead(run, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SystemExit, match=r"use the CPU recipe .* or try .* --device cpu"):
        run("--recipe", "gpu", "--out", str(tmp_path / "runs"))
    assert not (tmp_path / "runs").exists()


def test_a_batch_that_does_not_fit_is_halved_until_it_does(run, tmp_path, monkeypatch, capsys):
    def forward(member, images):
        if member.training and len(images) > 5:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return FORWARD(member, images)

    monkeypatch.setattr(PooledClassifier, "forward", forward)
    run(*CNN, "--epochs", "1", "--out", str(tmp_path / "run"))
    written = json.loads((tmp_path / "run" / "run.json").read_text())
    assert written["batches"] == [16, 8, 4]
    assert written["steps"] == 3 * 16 / 4
    assert "out of memory: going on with batches of 4" in capsys.readouterr().out


def test_a_single_picture_that_does_not_fit_stops_the_run(run, tmp_path, monkeypatch):
    def forward(_member, _images):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(PooledClassifier, "forward", forward)
    with pytest.raises(SystemExit, match="not even one picture fits into memory"):
        run(*CNN, "--epochs", "1", "--out", str(tmp_path / "run"))


def test_a_loss_that_is_no_number_stops_the_run_before_anything_is_kept(run, tmp_path, monkeypatch):
    monkeypatch.setattr(
        PooledClassifier, "forward", lambda member, images: FORWARD(member, images) * np.nan
    )
    with pytest.raises(SystemExit, match="the loss became nan: lower --body-rate"):
        run(*CNN, "--epochs", "1", "--out", str(tmp_path / "run"))
    assert not list((tmp_path / "run").iterdir())


def test_a_run_from_the_start_leaves_no_file_of_the_run_before(run, tmp_path, monkeypatch):
    out = tmp_path / "run"
    run(*CNN, "--epochs", "1", "--out", str(out))
    monkeypatch.setattr(train, "train_epoch", lambda *_: (_ for _ in ()).throw(Interrupted))
    with pytest.raises(Interrupted):
        run(*CNN, "--epochs", "1", "--out", str(out))
    assert not list(out.iterdir())


def test_start_weights_are_those_of_a_member_and_named_by_hash(run, tmp_path):
    run(*CNN, "--epochs", "1", "--out", str(tmp_path / "first"))
    start = tmp_path / "first" / "member.safetensors"
    rate = ("--body-rate", "1e-30")
    run(*CNN, "--epochs", "1", "--out", str(tmp_path / "next"), "--start", str(start), *rate)
    first, second = load_file(start), load_file(tmp_path / "next" / "member.safetensors")
    assert torch.allclose(first["body.0.0.weight"], second["body.0.0.weight"], atol=1e-6)
    origin = json.loads((tmp_path / "next" / "run.json").read_text())["provenance"]
    assert origin["start"] == "member.safetensors"
    assert len(origin["start_sha256"]) == 64


def added_manifest(folder, data, *, image_id="NEW_1", lesion_id="NEW"):
    folder.mkdir()
    photo = (data / "ISIC_4.jpg").read_bytes()
    (folder / "1.jpg").write_bytes(photo)
    case = TrainingCase(
        image_id=image_id,
        lesion_id=lesion_id,
        dx="mel",
        file="1.jpg",
        sha256=sha256(photo),
    )
    return write_training_manifest(folder, [case], origin="test")


def test_added_cases_are_learnt_from_and_recorded_but_never_judged_on(run, data, tmp_path, capsys):
    path = added_manifest(tmp_path / "export", data)
    run(*CNN, "--epochs", "1", "--out", str(tmp_path / "run"), "--add", str(path))
    assert "mel 0/9 = 0.00 (1 added)" in capsys.readouterr().out
    origin = json.loads((tmp_path / "run" / "run.json").read_text())["provenance"]
    assert origin["added"] == [
        {
            "manifest": "export/training_set.json",
            "sha256": sha256(path.read_bytes()),
            "cases": 1,
        }
    ]
    predicted = read_held_out(tmp_path / "run" / "held_out.safetensors")
    assert "NEW_1" not in predicted.image_ids


@pytest.mark.parametrize(
    ("ids", "words"),
    [({"lesion_id": "HAM_3"}, "id of a case that is held out"), ({}, "is no training manifest")],
)
def test_added_cases_that_cannot_be_used_stop_the_run(run, data, tmp_path, ids, words):
    path = added_manifest(tmp_path / "export", data, **ids)
    if not ids:
        path.write_text("{")
    with pytest.raises(SystemExit, match=words):
        run(*CNN, "--epochs", "1", "--out", str(tmp_path / "run"), "--add", str(path))
    assert not (tmp_path / "run").exists()


def test_bad_data_stops_the_program_before_training_with_names(run, data, tmp_path):
    out = ("--epochs", "1", "--out", str(tmp_path / "run"))
    table = (data / METADATA_NAME).read_text()
    other = tmp_path / "metadata.csv"
    for text, words in (
        (table.replace("ISIC_5,", "ISIC_X,"), "1 images are missing .*ISIC_X"),
        (table.replace("ISIC_5,nv", "ISIC_5,wart"), r"unknown diagnosis of ISIC_5 \(wart\)"),
        (table.replace("HAM_5,", "HAM_6,"), "lesions on two sides of the split: HAM_6"),
    ):
        other.write_text(text)
        with pytest.raises(SystemExit, match=words):
            run(*CNN, *out, "--metadata", str(other))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("--out", "runs"), "name a --member"),
        (("--member", "basic_cnn"), "name the folder --out"),
        (("--recipe", "gpu", "--start", "a.safetensors"), "name a --member"),
        ((*CNN, "--out", "runs", "--minutes", "0"), "0 is not more than 0"),
        ((*CNN, "--out", "runs", "--minutes", "1", "--epochs", "1"), "not allowed with"),
        ((*CNN, "--out", "runs", "--fold", "5"), "invalid choice: 5"),
    ],
)
def test_options_that_make_no_run_are_explained(run, capsys, words, complaint):
    with pytest.raises(SystemExit):
        run(*words)
    assert complaint in capsys.readouterr().err
