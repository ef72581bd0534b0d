"""Class activation maps of the package grad-cam, as it computes them: one backward pass a batch.

The service draws its maps by the closed form of ml.gradcam; these stand beside it to compare.
"""

import warnings
from typing import Final, Literal

import torch
from torch import Tensor

from ml.members import PooledClassifier
from ml.torch_import import torchvision_models

Method = Literal["GradCAM", "GradCAMPlusPlus"]
METHODS: Final[tuple[Method, ...]] = ("GradCAM", "GradCAMPlusPlus")


def library_cam(
    method: Method, member: PooledClassifier, inputs: Tensor, classes: Tensor
) -> Tensor:
    """Raw maps [n, h, w] of one class for each input [n, 3, side, side], at the body's last layer.

    Raw is before the package clips at zero, scales each map to 0..1 and enlarges it. The scale is
    the package's own: Grad-CAM (Selvaraju et al. 2017) is the closed form over the map's area, so
    its sum plus the head's bias is the logit. Grad-CAM++ (Chattopadhay et al. 2018) has no such
    meaning, and its size depends on the member: only compare it within one.
    """
    torchvision_models()  # The package imports torchvision, which needs its operators declared.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # The package warns at import.
        import pytorch_grad_cam  # noqa: PLC0415
        from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget  # noqa: PLC0415
    layer = list(member.body.children())[-1]
    targets = [ClassifierOutputTarget(int(label)) for label in classes]
    camera = getattr(pytorch_grad_cam, method)(model=member, target_layers=[layer])
    try:
        camera(input_tensor=inputs, targets=targets)
        (features,) = camera.activations_and_grads.activations
        (gradients,) = camera.activations_and_grads.gradients
        maps = camera.get_cam_image(inputs, layer, targets, features.numpy(), gradients.numpy())
    finally:
        camera.activations_and_grads.release()
        member.zero_grad()
    return torch.from_numpy(maps)
