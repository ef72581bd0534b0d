import json
import sys

import numpy as np
import pytest
from PIL import Image

from ml import explain
from ml.artifact import load_bundle
from ml.ensemble import Ensemble
from ml.explain import GRID, MaskedPhotos, measure_explanations, read_masks
from ml.folds import Place
from ml.image_source import ImageDataError
from ml.labels import CLASSES
from tools.lesion_drawing import draw_lesion

SIZE = (200, 150)
DIAGNOSES = ("nv", "mel", "nv", "bcc")


@pytest.fixture(autouse=True)
def _few_seeds(monkeypatch):
    monkeypatch.setattr(explain, "SEEDS", (1,))


@pytest.fixture
def masks(tmp_path):
    """Lesions of the left margin of the frame and the left fifth of its middle square."""
    folder = tmp_path / "masks"
    folder.mkdir()
    mask = np.zeros((150, 200), np.uint8)
    mask[:, :55] = 255
    for number in range(len(DIAGNOSES)):
        Image.fromarray(mask).save(folder / f"P{number}_segmentation.png")
    return folder


@pytest.fixture
def held(masks):
    names = [f"P{number}" for number in range(len(DIAGNOSES))]
    return MaskedPhotos(
        photos=[np.asarray(draw_lesion(number, SIZE)) for number in range(len(DIAGNOSES))],
        masks=read_masks(masks, names),
        labels=np.array([CLASSES.index(name) for name in DIAGNOSES]),
        lesions=names,
    )


@pytest.fixture
def data_set(tmp_path, monkeypatch):
    """A table, photos and folds, all of them in the half that is kept for figures."""
    table = tmp_path / "metadata.csv"
    rows = [f"L{number},P{number},{name}\n" for number, name in enumerate(DIAGNOSES)]
    table.write_text("lesion_id,image_id,dx\n" + "".join(rows))
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(len(DIAGNOSES)):
        draw_lesion(number, SIZE).save(folder / f"P{number}.jpg")
    places = {f"P{number}": Place(f"L{number}", 0, "report") for number in range(len(DIAGNOSES))}
    monkeypatch.setattr(explain, "DEFAULT_METADATA", table)
    monkeypatch.setattr(explain, "DEFAULT_CACHE", tmp_path / "cache")
    monkeypatch.setattr(explain, "read_folds", lambda: places)
    return folder


def test_a_mask_is_cut_as_the_photo_is(held):
    assert held.masks.shape == (len(DIAGNOSES), GRID, GRID)
    fifth = round(GRID / 5)
    assert held.masks[:, :, : fifth - 1].all()
    assert not held.masks[:, :, fifth + 1 :].any()


def test_missing_masks_are_named(masks):
    (masks / "P2_segmentation.png").unlink()
    with pytest.raises(ImageDataError, match=r"1 masks are missing.*P2"):
        read_masks(masks, ["P0", "P1", "P2"])


def test_the_figures_cover_every_method_maker_and_class_that_occurs(make_bundle, held):
    folder = make_bundle()
    figures = measure_explanations(Ensemble.load(folder), load_bundle(folder).members, held)
    assert (figures["n"], figures["lesions"]) == (4, 4)
    makers = {"ensemble", "basic_cnn", "efficientnet_b0"}
    assert set(figures["localisation"]) == {"grad_cam", "grad_cam_plus_plus"}
    for kinds in figures["localisation"].values():
        assert set(kinds) == makers
        for values in kinds.values():
            assert set(values["by_class"]) == set(DIAGNOSES)
            assert values["energy_in_mask"]["chance_area"] == pytest.approx(0.2, abs=0.02)
            assert 0.0 <= values["pointing_hit"]["value"] <= 1.0
    assert set(figures["randomisation"]) == makers - {"ensemble"}
    for curve in figures["randomisation"].values():
        assert curve[0]["rank_correlation"] == pytest.approx(1.0)
    json.dumps(figures, allow_nan=False)


def test_the_measured_map_of_the_ensemble_is_the_one_served_and_the_mean_of_the_members(
    make_bundle, held
):
    folder = make_bundle()
    ensemble = Ensemble.load(folder)
    maps = explain._draw_maps(ensemble, load_bundle(folder).members, held.photos)
    analyses = ensemble.analyse(held.photos)
    named = [CLASSES[label] for label in maps.classes]
    assert named == [analysis.maps[0].label for analysis in analyses]
    of_members = [maps.grad_cam[name] for name in ("basic_cnn", "efficientnet_b0")]
    served = maps.grad_cam["ensemble"]
    assert np.abs(served - np.mean(of_members, axis=0)).max() < 0.1 * served.max()


def test_the_command_writes_figures_and_a_picture(
    make_bundle, data_set, masks, tmp_path, monkeypatch, capsys
):
    out = tmp_path / "out"
    command = ["ml.explain", "--masks", str(masks), "--images", str(data_set), "--limit", "3"]
    command += ["--bundle", str(make_bundle()), "--out", str(out)]
    monkeypatch.setattr(sys, "argv", command)
    explain.main()
    figures = json.loads((out / "explanation.json").read_text())
    assert figures["bundle"] == "test"
    assert figures["n"] == 3
    with Image.open(out / "explanation.png") as picture:
        assert picture.width > 300
    shown = capsys.readouterr().out
    assert "grad_cam ensemble: pointing" in shown
    assert "basic_cnn, head first, rank correlation: 1.00" in shown


def test_the_command_without_masks_ends_with_a_clear_line(
    make_bundle, data_set, tmp_path, monkeypatch
):
    command = ["ml.explain", "--masks", str(tmp_path / "none"), "--images", str(data_set)]
    command += ["--bundle", str(make_bundle()), "--out", str(tmp_path / "out")]
    monkeypatch.setattr(sys, "argv", command)
    with pytest.raises(SystemExit, match="none does not exist"):
        explain.main()
