import csv
import json
import sys
from dataclasses import replace

import numpy as np
import pytest

from ml import evaluate as evaluation
from ml import predict
from ml.artifact import read_manifest, save_manifest
from ml.folds import LabelDataError
from ml.image_source import ImageDataError
from ml.label_table import read_labels
from ml.labels import CLASSES
from ml.model_card import model_card
from tools.lesion_drawing import draw_lesion

HEADER = "image,MEL,NV,BCC,AKIEC,BKL,DF,VASC\n"


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(7):
        draw_lesion(number, (200, 150)).save(folder / f"P{number}.jpg")
    return folder


@pytest.fixture
def labels(tmp_path):
    path = tmp_path / "labels.csv"
    rows = [f"P{number},{name}\n" for number, name in enumerate(CLASSES)]
    path.write_text("image_id,dx\n" + "".join(rows))
    return path


def test_both_kinds_of_tables_are_read_alike(tmp_path, labels):
    one_hot = tmp_path / "truth.csv"
    order = HEADER.strip().split(",")[1:]
    rows = [
        f"P{number},{','.join('1.0' if column == name.upper() else '0.0' for column in order)}\n"
        for number, name in enumerate(CLASSES)
    ]
    one_hot.write_text(HEADER + "".join(rows))
    assert read_labels(one_hot) == read_labels(labels)


def test_a_table_with_lesions_groups_by_them(tmp_path):
    path = tmp_path / "metadata.csv"
    path.write_text("lesion_id,image_id,dx\nL1,A,nv\nL1,B,nv\n")
    assert [case.group for case in read_labels(path)] == ["L1", "L1"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("image_id,dx\nA,wart\n", "A: the diagnosis 'wart'"),
        (HEADER + "A,1,1,0,0,0,0,0\n", "A: its row marks 2 classes"),
        (HEADER + "A,0,0,0,0,0,0,0\n", "A: its row marks 0 classes"),
        ("photo,truth\nA,nv\n", "needs the columns"),
        ("image_id,dx\n", "no rows"),
    ],
)
def test_a_table_that_cannot_be_used_is_refused_with_the_reason(tmp_path, text, words):
    path = tmp_path / "labels.csv"
    path.write_text(text)
    with pytest.raises(LabelDataError, match=words):
        read_labels(path)


def test_an_evaluation_writes_figures_and_predictions(make_bundle, photos, labels, tmp_path):
    out = tmp_path / "out"
    folder = make_bundle()
    evaluation.evaluate(bundle=folder, images=photos, labels=labels, out=out)
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["n"] == 7
    assert set(metrics["members"]) == {"basic_cnn", "efficientnet_b0"}
    expected = {"bma", "bma_interval", "accuracy", "macro_f1", "macro_recall", "macro_auc"}
    assert expected | {"recall", "precision", "ece", "brier"} <= set(metrics["ensemble"])
    assert metrics["triage"]["malignant_sensitivity"]["n"] == 3
    assert metrics["triage"]["specificity"]["n"] == 4
    assert set(metrics["conformal"]) == {"0.90", "0.95"}
    assert set(metrics["selective"]["coverage_at_error"]) == {"0.05", "0.10"}
    pictures = {"confusion", "roc", "reliability", "risk_coverage"}
    curves = {"training_accuracy", "training_loss"}
    assert {path.stem for path in out.glob("*.png")} == pictures | curves
    with (out / "predictions.csv").open() as file:
        rows = list(csv.DictReader(file))
    hits = np.mean([row["predicted"] == row["dx"] for row in rows])
    assert metrics["ensemble"]["accuracy"] == pytest.approx(hits)
    for row in rows:
        assert sum(float(row[name]) for name in CLASSES) == pytest.approx(1.0, abs=1e-4)
        assert row["urgency"] in {"urgent", "suspicious", "routine"}


def test_several_views_are_averaged_and_told(make_bundle, photos, labels, tmp_path, monkeypatch):
    folder = make_bundle()
    one = evaluation.evaluate(bundle=folder, images=photos, labels=labels, out=tmp_path / "one")
    command = ["ml.evaluate", "--images", str(photos), "--labels", str(labels), "--tta", "4"]
    command += ["--out", str(tmp_path / "four"), "--bundle", str(folder)]
    monkeypatch.setattr(sys, "argv", command)
    evaluation.main()
    four = json.loads((tmp_path / "four" / "metrics.json").read_text())
    assert (one["views"], four["views"]) == (1, 4)
    assert one["ensemble"]["loss"] != four["ensemble"]["loss"]


def test_a_table_with_age_sex_and_site_gets_figures_by_group(make_bundle, photos, tmp_path):
    table = tmp_path / "metadata.csv"
    rows = [f"L{n},P{n},{name},45.0,male,back\n" for n, name in enumerate(CLASSES)]
    table.write_text("lesion_id,image_id,dx,age,sex,localization\n" + "".join(rows))
    metrics = evaluation.evaluate(
        bundle=make_bundle(), images=photos, labels=table, out=tmp_path / "out"
    )
    assert set(metrics["subgroups"]) == {"sex", "age band", "body site"}


def test_missing_photos_are_named_before_anything_runs(photos, labels, tmp_path):
    (photos / "P3.jpg").unlink()
    with pytest.raises(ImageDataError, match="1 images are missing: P3"):
        evaluation.evaluate(
            bundle=tmp_path / "no bundle", images=photos, labels=labels, out=tmp_path / "out"
        )


def test_the_program_without_weights_ends_with_a_clear_line(photos, labels, tmp_path, monkeypatch):
    command = ["ml.evaluate", "--images", str(photos), "--labels", str(labels)]
    command += ["--out", str(tmp_path / "out"), "--bundle", str(tmp_path / "none")]
    monkeypatch.setattr(sys, "argv", command)
    with pytest.raises(SystemExit, match=r"manifest\.json cannot be read"):
        evaluation.main()


def test_predict_prints_json_and_writes_heat_maps(
    make_bundle, photos, tmp_path, monkeypatch, capsys
):
    command = ["ml.predict", str(photos / "P0.jpg"), str(photos / "P1.jpg"), "--json"]
    command += ["--bundle", str(make_bundle()), "--heatmap", str(tmp_path / "maps")]
    monkeypatch.setattr(sys, "argv", command)
    predict.main()
    described = json.loads(capsys.readouterr().out)
    assert [item["photo"] for item in described] == command[1:3]
    assert sum(described[0]["probabilities"].values()) == pytest.approx(1.0)
    assert described[0]["reasons"]
    assert set(described[0]["sets"]) == {"0.90", "0.95"}
    assert isinstance(described[0]["outlier_score"], float)
    assert described[0]["quality"]["side"] == 150
    ranked = sorted(described[0]["probabilities"].items(), key=lambda item: -item[1])
    likeliest = {name for name, _ in ranked[:2]}
    assert set(described[0]["looked_at"]) == likeliest
    drawn = {path.stem for path in (tmp_path / "maps").glob("P0_*.png")}
    assert drawn == {f"P0_{name}" for name in likeliest}


def test_predict_in_words_names_urgency_and_diagnoses(make_bundle, photos, monkeypatch, capsys):
    monkeypatch.setattr(
        sys, "argv", ["ml.predict", str(photos / "P0.jpg"), "--bundle", str(make_bundle())]
    )
    predict.main()
    shown = capsys.readouterr().out
    assert "Melanoma" in shown
    assert "outlier score" in shown
    assert "in 90% of cases one of:" in shown
    assert "P0.jpg: " in shown


def test_predict_refuses_what_is_no_photo(tmp_path, monkeypatch):
    path = tmp_path / "letter.jpg"
    path.write_text("Dear doctor")
    monkeypatch.setattr(sys, "argv", ["ml.predict", str(path)])
    with pytest.raises(SystemExit, match=r"letter\.jpg"):
        predict.main()


def test_the_model_card_states_figures_limits_and_the_papers_claim_apart(
    make_bundle, photos, labels, tmp_path
):
    folder = make_bundle()
    metrics = evaluation.evaluate(bundle=folder, images=photos, labels=labels, out=tmp_path / "out")
    manifest, _ = read_manifest(folder)
    names = list(manifest.rule.votes)
    provenance = {
        "data": "HAM10000, licence CC BY-NC 4.0",
        "runs": {name: {"history": [{}, {}], "seconds": 120.0, "steps": 7} for name in names},
        "sizes": {name: {"parameters": 5_300_000, "macs": 390_000_000} for name in names},
        "votes": {"calibrate_bma_fixed_votes": 0.75, "calibrate_bma_equal_votes": 0.74},
    }
    save_manifest(
        folder,
        replace(manifest, metrics={"held_out": "seven photos", **metrics}, provenance=provenance),
    )
    manifest, fingerprint = read_manifest(folder)
    card = model_card(manifest, fingerprint)
    assert f"{metrics['ensemble']['bma']:.3f}" in card
    assert fingerprint in card
    assert "CC BY-NC 4.0" in card
    assert "darker skin is not known" in card
    assert "random split" in card.split("0.92")[0]
    ours = next(line for line in card.splitlines() if line.startswith("| EfficientNet-B0, ours"))
    assert "5.3 M | 0.39 G" in ours
    assert f"{metrics['members']['efficientnet_b0']['loss']:.3f}" in ours
    assert ours.endswith("2 min |")
    assert "Prediction sets" in card


def test_a_card_shows_pictures_without_skin_and_groups_where_they_were_measured(make_bundle):
    manifest, fingerprint = read_manifest(make_bundle())
    assert "## Groups" not in model_card(manifest, fingerprint)
