import json

import numpy as np
import pytest
import torch

from ml.artifact import BundleError, load_bundle
from ml.ensemble import Ensemble
from ml.focus import Focus
from ml.gradcam import focus_of
from ml.labels import CLASSES
from ml.members import MEMBERS, build_member
from ml.preprocess import to_input
from ml.quality_flag import QualityFlag
from ml.served_member import fold_batch_norm
from ml.temperature import apply_temperature, mean_of_members


@pytest.fixture
def ensemble(make_bundle):
    return Ensemble.load(make_bundle())


def test_each_photo_gets_an_analysis_in_its_order_whatever_its_size(ensemble, lesion_photos):
    photos = [
        lesion_photos[0],
        np.ascontiguousarray(lesion_photos[1][:150, :120]),
        lesion_photos[2],
    ]
    analyses = ensemble.analyse(photos)
    for photo, analysis in zip(photos, analyses, strict=True):
        for drawn in analysis.maps:
            assert drawn.heatmap.shape == photo.shape[:2]
            assert drawn.heatmap.dtype == np.float32
            assert 0.0 <= drawn.heatmap.min() <= drawn.heatmap.max() <= 1.0
        assert set(analysis.prediction.members) == {"basic_cnn", "efficientnet_b0"}


def test_the_two_likeliest_classes_are_explained_each_by_its_own_map(ensemble, lesion_photos):
    for analysis in ensemble.analyse(lesion_photos):
        ranked = [name for name, _ in analysis.prediction.ranked()]
        assert [drawn.label for drawn in analysis.maps] == ranked[:2]


def test_each_explained_class_has_its_own_evidence(ensemble):
    """The members see one class at the left edge and another one at the right."""
    strong = 100.0 * max(member.cam_scale for member in ensemble.manifest.members)
    own = np.zeros((1, len(CLASSES), 6, 6), np.float32)
    own[0, CLASSES.index("mel"), 2:4, 0] = strong
    own[0, CLASSES.index("nv"), 2:4, 5] = strong

    (maps,) = ensemble._mean_evidence([own, own], [["nv", "mel"]])

    assert [focus_of(each) for each in maps] == [Focus.RIGHT, Focus.LEFT]


def test_a_batch_gives_what_single_photos_give(ensemble, lesion_photos):
    together = ensemble.analyse(lesion_photos)
    for photo, one in zip(lesion_photos, together, strict=True):
        (alone,) = ensemble.analyse([photo])
        for name in CLASSES:
            expected = alone.prediction.probabilities[name]
            assert one.prediction.probabilities[name] == pytest.approx(expected, abs=1e-5)
        for drawn, of_alone in zip(one.maps, alone.maps, strict=True):
            assert (drawn.label, drawn.focus) == (of_alone.label, of_alone.focus)
            assert np.abs(drawn.heatmap - of_alone.heatmap).max() < 1e-4


def test_the_probabilities_are_the_mean_of_the_plain_members_at_the_temperature(
    make_bundle, lesion_photos
):
    folder = make_bundle()
    loaded = load_bundle(folder)
    manifest, members = loaded.manifest, loaded.members
    with torch.inference_mode():
        rows = [
            members[entry.config.name](to_input(lesion_photos, entry.config)).softmax(dim=1).numpy()
            for entry in manifest.members
        ]
    expected = apply_temperature(mean_of_members(np.stack(rows), np.ones(2)), manifest.temperature)
    for analysis, row in zip(Ensemble.load(folder).analyse(lesion_photos), expected, strict=True):
        got = [analysis.prediction.probabilities[name] for name in CLASSES]
        assert got == pytest.approx(row.tolist(), abs=1e-4)


def test_no_photos_give_no_analyses(ensemble):
    assert ensemble.analyse([]) == []


def test_a_spoilt_photo_is_flagged(ensemble):
    (analysis,) = ensemble.analyse([np.zeros((80, 80, 3), np.uint8)])
    assert {QualityFlag.TOO_DARK, QualityFlag.TOO_SMALL} <= set(analysis.quality.flags)


def test_the_fingerprint_names_the_bundle(make_bundle):
    first, second = Ensemble.load(make_bundle("one")), Ensemble.load(make_bundle("two"))
    assert first.fingerprint != second.fingerprint
    assert first.policy == second.policy


def test_without_weights_there_is_an_error_and_no_result(make_bundle):
    folder = make_bundle()
    (folder / "efficientnet_b0.safetensors").unlink()
    with pytest.raises(BundleError, match=r"efficientnet_b0\.safetensors"):
        Ensemble.load(folder)


def test_an_empty_map_looks_empty(make_bundle, lesion_photos):
    """When a map's evidence is a thousandth of the common scale, the page shows nothing."""
    folder = make_bundle()
    path = folder / "manifest.json"
    values = json.loads(path.read_text())
    for member in values["members"]:
        member["cam_scale"] = 1e6
    path.write_text(json.dumps(values))
    drawn = [one for each in Ensemble.load(folder).analyse(lesion_photos) for one in each.maps]
    assert max(one.heatmap.max() for one in drawn) < 1e-3
    assert {one.focus for one in drawn} == {Focus.NOWHERE}


@pytest.mark.parametrize("name", MEMBERS)
def test_folding_batch_norm_leaves_no_norm_and_the_same_logits(name):
    torch.manual_seed(8)
    member = build_member(MEMBERS[name])
    images = torch.rand(4, 3, 96, 96)
    member(images)  # One pass in training mode gives the norms statistics of their own.
    member.eval()
    with torch.inference_mode():
        before = member(images)
        fold_batch_norm(member)
        after = member(images)
    assert not any(isinstance(part, torch.nn.BatchNorm2d) for part in member.modules())
    assert torch.allclose(before, after, atol=1e-4)
