"""The networks of the ensemble. Each ends in global average pooling and one linear layer."""

from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from ml.labels import CLASSES
from ml.torch_import import torchvision_models

IMAGENET_MEAN: Final = (0.485, 0.456, 0.406)
IMAGENET_STD: Final = (0.229, 0.224, 0.225)


@dataclass(frozen=True, kw_only=True)
class MemberConfig:
    """What a member is and what it eats: `input_size` is the side of its square input in pixels."""

    name: str
    input_size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    dropout: float


MEMBERS: Final[dict[str, MemberConfig]] = {
    config.name: config
    for config in (
        MemberConfig(
            name="basic_cnn", input_size=128, mean=IMAGENET_MEAN, std=IMAGENET_STD, dropout=0.1
        ),
        MemberConfig(
            name="efficientnet_b0",
            input_size=192,
            mean=IMAGENET_MEAN,
            std=IMAGENET_STD,
            dropout=0.2,
        ),
        # The start weights of this net were trained on RGB in 0..1 without mean or deviation.
        MemberConfig(
            name="inception_v3",
            input_size=192,
            mean=(0.0, 0.0, 0.0),
            std=(1.0, 1.0, 1.0),
            dropout=0.2,
        ),
    )
}


class PooledClassifier(nn.Module):
    """Feature maps, their mean, one linear layer: the shape for which CAM equals Grad-CAM."""

    def __init__(self, *, body: nn.Module, channels: int, dropout: float) -> None:
        super().__init__()
        self.body = body
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(channels, len(CLASSES))

    def forward(self, images: Tensor) -> Tensor:
        """Logits [n, classes] of normalised images [n, 3, side, side]."""
        pooled: Tensor = self.body(images).mean(dim=(2, 3))
        logits: Tensor = self.head(self.dropout(pooled))
        return logits


def _convolution(channels_in: int, channels_out: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, 3, stride=stride, padding=1, bias=False),
        nn.BatchNorm2d(channels_out),
        nn.ReLU(inplace=True),
    )


def _basic_body() -> tuple[nn.Module, int]:
    """Eight plain convolutions, four of them halving the picture."""
    plan = ((32, 2), (64, 2), (64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (256, 1))
    layers: list[nn.Module] = []
    channels = 3
    for channels_out, stride in plan:
        layers.append(_convolution(channels, channels_out, stride))
        channels = channels_out
    return nn.Sequential(*layers), channels


def _efficientnet_body() -> tuple[nn.Module, int]:
    net = torchvision_models().efficientnet_b0(weights=None)
    body: nn.Module = net.features
    return body, 1280


_INCEPTION_LAYERS: Final = (
    *("Conv2d_1a_3x3", "Conv2d_2a_3x3", "Conv2d_2b_3x3", "maxpool1"),
    *("Conv2d_3b_1x1", "Conv2d_4a_3x3", "maxpool2"),
    *("Mixed_5b", "Mixed_5c", "Mixed_5d", "Mixed_6a", "Mixed_6b", "Mixed_6c", "Mixed_6d"),
    *("Mixed_6e", "Mixed_7a", "Mixed_7b", "Mixed_7c"),
)


def _inception_body() -> tuple[nn.Module, int]:
    net = torchvision_models().inception_v3(
        weights=None, aux_logits=False, transform_input=False, init_weights=False
    )
    layers = OrderedDict((name, getattr(net, name)) for name in _INCEPTION_LAYERS)
    return nn.Sequential(layers), 2048


_BODIES: Final = {
    "basic_cnn": _basic_body,
    "efficientnet_b0": _efficientnet_body,
    "inception_v3": _inception_body,
}


def build_member(config: MemberConfig) -> PooledClassifier:
    """Build a member with random weights, in training mode."""
    body, channels = _BODIES[config.name]()
    return PooledClassifier(body=body, channels=channels, dropout=config.dropout)


def plain_tensors(path: Path) -> dict[str, Tensor]:
    """Weights of a file in the precision of training: floats in fp32, counters as they are."""
    return {
        name: tensor.float() if tensor.is_floating_point() else tensor
        for name, tensor in load_file(path).items()
    }


def load_start_weights(member: PooledClassifier, path: Path) -> None:
    """Fill the body from torchvision-named weights without a classifier; all must fit."""
    tensors = load_file(path)
    state = {name.removeprefix("features."): tensor.float() for name, tensor in tensors.items()}
    for name, tensor in state.items():
        if name.endswith("num_batches_tracked"):
            state[name] = tensor.to(torch.int64)
    member.body.load_state_dict(state, strict=True)


def to_channels_last(module: nn.Module) -> None:
    """Lay the weights out as convolutions on a CPU like them; the numbers stay the same."""
    module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
