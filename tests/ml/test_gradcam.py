import io

import numpy as np
import pytest
import torch
from PIL import Image

from ml.artifact import live_bundle, load_bundle
from ml.focus import FOCUS_WORDS, Focus
from ml.gradcam import (
    blend,
    evidence,
    focus_of,
    logits_and_features,
    on_photo,
    overlay_png,
    overlay_rgba,
    raw_cam,
)
from ml.labels import CLASSES
from ml.library_cam import library_cam
from ml.members import MEMBERS, build_member

SIDE = 140  # At least three cells a side in every member's map.


def with_statistics(member, images):
    """Without statistics of their own the norms would let the signal of a random net die out."""
    for part in member.modules():
        if isinstance(part, torch.nn.BatchNorm2d):
            part.momentum = None
    with torch.no_grad():
        member.train()(images)
    return member.eval()


@pytest.fixture(scope="module")
def images():
    return torch.rand(3, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(2))


@pytest.fixture(scope="module")
def live_members():
    return load_bundle(live_bundle()).members


@pytest.fixture(
    scope="module",
    params=[
        *((name, "random") for name in MEMBERS),
        *(pytest.param((name, "live"), marks=pytest.mark.slow) for name in MEMBERS),
    ],
    ids=" ".join,
)
def member(request, images):
    name, weights = request.param
    if weights == "live":
        return request.getfixturevalue("live_members")[name]
    torch.manual_seed(11)
    return with_statistics(build_member(MEMBERS[name]), images)


def every_class(images):
    """Each image once for each class, and the classes."""
    copies = images.repeat_interleave(len(CLASSES), dim=0)
    return copies, torch.arange(len(CLASSES)).repeat(len(images))


def test_the_closed_form_equals_grad_cam_for_every_class(member, images):
    copies, classes = every_class(images[:1])
    with torch.inference_mode():
        _, features = logits_and_features(member, copies)
        closed = raw_cam(member, features, classes)
    area = closed.shape[1] * closed.shape[2]
    reference = library_cam("GradCAM", member, copies, classes) * area
    strength = reference.abs().amax(dim=(1, 2))
    assert area >= 9
    assert strength.min() > 1e-3  # Else any two maps would be equal.
    assert ((closed - reference).abs().amax(dim=(1, 2)) < 1e-4 * strength).all()


def test_grad_cam_plus_plus_follows_its_formula(member, images):
    """Equation 19 of Chattopadhay et al. 2018, with the package's small number in it."""
    copies, classes = every_class(images[:1])
    with torch.inference_mode():
        _, features = logits_and_features(member, copies)
    area = features.shape[2] * features.shape[3]
    gradient = member.head.weight[classes].detach() / area
    total = features.sum(dim=(2, 3))
    alpha = gradient**2 / (2 * gradient**2 + total * gradient**3 + 1e-6)
    weights = area * alpha * gradient.clamp_min(0.0)
    expected = torch.einsum("nc,nchw->nhw", weights, features)
    given = library_cam("GradCAMPlusPlus", member, copies, classes)
    assert torch.allclose(given, expected, rtol=1e-3, atol=1e-4 * float(expected.abs().max()))


def test_the_package_leaves_the_member_as_it_was(member, images):
    library_cam("GradCAM", member, images[:1], torch.tensor([0]))
    assert all(weight.grad is None for weight in member.parameters())
    assert not member.training
    assert not any(part._forward_hooks for part in member.modules())


def test_the_mean_of_the_map_plus_the_bias_is_the_logit(member, images):
    with torch.inference_mode():
        logits, features = logits_and_features(member, images)
        for label in range(len(CLASSES)):
            cam = raw_cam(member, features, torch.full((len(images),), label))
            assert cam.abs().max() > 1e-2  # Else the bias alone would be the logit.
            total = cam.mean(dim=(1, 2)) + member.head.bias[label]
            assert torch.allclose(total, logits[:, label], atol=1e-3)


def test_evidence_is_on_one_scale_so_that_a_weak_map_looks_weak():
    strong, weak = torch.full((1, 4, 4), 2.0), torch.full((1, 4, 4), 0.1)
    assert evidence(strong, scale=2.0, grid=8).max() == 1.0
    assert evidence(weak, scale=2.0, grid=8).max() == pytest.approx(0.05)
    assert evidence(-strong, scale=2.0, grid=8).max() == 0.0


def test_the_map_lies_over_the_middle_square_of_the_photo_only():
    heat = on_photo(np.ones((8, 8), np.float32), height=40, width=100)
    assert heat.shape == (40, 100)
    assert heat[:, 30:70].min() == 1.0
    assert heat[:, :30].max() == 0.0
    assert heat[:, 70:].max() == 0.0


def test_a_hot_corner_stays_in_its_corner():
    square = np.zeros((8, 8), np.float32)
    square[0, 7] = 1.0
    heat = on_photo(square, height=80, width=80)
    assert np.unravel_index(heat.argmax(), heat.shape)[0] < 10
    assert np.unravel_index(heat.argmax(), heat.shape)[1] >= 70


def test_no_evidence_is_wholly_clear_and_more_evidence_is_less_clear():
    heat = np.linspace(0.0, 1.0, 11, dtype=np.float32).reshape(1, -1)
    alpha = overlay_rgba(heat)[0, :, 3].astype(int)
    assert alpha[0] == 0
    assert (np.diff(alpha) > 0).all()


def test_weak_evidence_looks_the_same_on_a_map_with_and_without_strong_evidence():
    """The page must never scale a map by its own maximum."""
    weak = np.full((20, 20), 0.2, np.float32)
    mixed = weak.copy()
    mixed[:5, :5] = 1.0
    for lay in (lambda heat: on_photo(heat, height=60, width=60), overlay_rgba):
        assert (lay(weak)[-1, -1] == lay(mixed)[-1, -1]).all()
    maps = torch.from_numpy(np.stack([weak, mixed]))
    alone, beside_strong = evidence(maps, scale=1.0, grid=20)
    assert alone[-1, -1] == beside_strong[-1, -1] == pytest.approx(0.2)


def test_blending_at_opacity_nought_gives_the_photo(lesion_photos):
    photo = lesion_photos[0]
    rgba = overlay_rgba(np.full(photo.shape[:2], 0.8, np.float32))
    assert (blend(photo, rgba, 0.0) == photo).all()
    assert (blend(photo, rgba, 1.0) != photo).any()


def test_the_packed_overlay_shows_the_very_colours():
    heat = np.linspace(0.0, 1.0, 40 * 30, dtype=np.float32).reshape(30, 40)
    with Image.open(io.BytesIO(overlay_png(heat))) as packed:
        assert (np.asarray(packed.convert("RGBA")) == overlay_rgba(heat)).all()


def blob(row, column, *, grid=64, width=0.08, strength=0.5):
    """A round patch of evidence; row and column as shares of the side."""
    places = (np.indices((grid, grid)) + 0.5) / grid
    distance = np.hypot(places[0] - row, places[1] - column)
    return (strength * np.exp(-0.5 * (distance / width) ** 2)).astype(np.float32)


@pytest.mark.parametrize(
    ("row", "column", "focus"),
    [
        (0.15, 0.15, Focus.UPPER_LEFT),
        (0.15, 0.5, Focus.TOP),
        (0.15, 0.85, Focus.UPPER_RIGHT),
        (0.5, 0.15, Focus.LEFT),
        (0.5, 0.5, Focus.CENTRE),
        (0.5, 0.85, Focus.RIGHT),
        (0.85, 0.15, Focus.LOWER_LEFT),
        (0.85, 0.5, Focus.BOTTOM),
        (0.85, 0.85, Focus.LOWER_RIGHT),
    ],
)
def test_the_place_of_the_evidence_is_named_by_thirds_of_the_square(row, column, focus):
    assert focus_of(blob(row, column)) is focus
    # Faint evidence elsewhere moves nothing.
    assert focus_of(blob(row, column) + 0.1) is focus


def test_evidence_without_one_place_is_told_so():
    assert focus_of(blob(0.5, 0.5, strength=0.09)) is Focus.NOWHERE
    assert focus_of(blob(0.5, 0.5, width=0.5)) is Focus.ALL_OVER
    assert focus_of(np.maximum(blob(0.1, 0.1), blob(0.9, 0.9))) is Focus.SEVERAL


def test_every_place_has_words():
    assert set(FOCUS_WORDS) == set(Focus)
