import warnings

import numpy as np
import pytest
import torch

from ml.gradcam import blend, evidence, logits_and_features, on_photo, overlay_rgba, raw_cam
from ml.labels import CLASSES
from ml.members import MEMBERS, build_member
from ml.torch_import import torchvision_models

SIDE = 96


@pytest.fixture(scope="module", params=list(MEMBERS))
def member(request):
    torch.manual_seed(11)
    return build_member(MEMBERS[request.param]).eval()


@pytest.fixture(scope="module")
def images():
    return torch.rand(2, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(2))


def reference_grad_cams(member, image):
    """Raw Grad-CAM maps of the package grad-cam for all classes, before it scales and enlarges."""
    torchvision_models()  # The package imports torchvision, which needs its operators declared.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torchvision_models()  # the library imports torchvision by itself
        from pytorch_grad_cam import GradCAM  # noqa: PLC0415 - warns at import
        from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget  # noqa: PLC0415
    layer = list(member.body.children())[-1]
    with GradCAM(model=member, target_layers=[layer]) as camera:
        copies = image.repeat(len(CLASSES), 1, 1, 1)
        targets = [ClassifierOutputTarget(label) for label in range(len(CLASSES))]
        camera(input_tensor=copies, targets=targets)
        features = camera.activations_and_grads.activations[0].cpu().numpy()
        gradients = camera.activations_and_grads.gradients[0].cpu().numpy()
        return camera.get_cam_image(copies, layer, targets, features, gradients, eigen_smooth=False)


def test_the_closed_form_equals_grad_cam_for_every_class(member, images):
    image = images[:1]
    with torch.inference_mode():
        _, features = logits_and_features(member, image)
    area = features.shape[2] * features.shape[3]
    references = reference_grad_cams(member, image) * area
    for label, theirs in enumerate(references):
        with torch.inference_mode():
            ours = raw_cam(member, features, torch.tensor([label])).numpy()[0]
        strength = max(1e-6, float(np.abs(theirs).max()))
        assert np.abs(ours - theirs).max() / strength < 1e-4, CLASSES[label]


def test_the_mean_of_the_map_plus_the_bias_is_the_logit(member, images):
    with torch.inference_mode():
        logits, features = logits_and_features(member, images)
        for label in range(len(CLASSES)):
            cam = raw_cam(member, features, torch.full((2,), label))
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


def test_blending_at_opacity_nought_gives_the_photo(lesion_photos):
    photo = lesion_photos[0]
    rgba = overlay_rgba(np.full(photo.shape[:2], 0.8, np.float32))
    assert (blend(photo, rgba, 0.0) == photo).all()
    assert (blend(photo, rgba, 1.0) != photo).any()
