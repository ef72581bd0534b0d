"""The members as they serve: one forward pass of all of them over some photos."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from ml.arrays import Floats, Pixels
from ml.gradcam import logits_and_features
from ml.members import MemberConfig, PooledClassifier, to_channels_last
from ml.preprocess import to_input


@dataclass(frozen=True, kw_only=True)
class ForwardPass:
    """What the members answer.

    `probabilities` [members, n, classes], uncalibrated. `pooled` [n, channels]: the pooled features
    of every member, each scaled to length one, side by side. `features`: for each member its last
    feature maps [n, channels, h, w].
    """

    probabilities: Floats
    pooled: Floats
    features: list[Tensor]


def fold_batch_norm(module: nn.Module) -> None:
    """Write each batch norm that follows a convolution into the convolution's own weights."""
    before: tuple[str, nn.Module] | None = None
    for name, child in list(module.named_children()):
        if (
            before is not None
            and isinstance(before[1], nn.Conv2d)
            and isinstance(child, nn.BatchNorm2d)
        ):
            setattr(module, before[0], fuse_conv_bn_eval(before[1], child))
            setattr(module, name, nn.Identity())
        else:
            fold_batch_norm(child)
        before = (name, child)


class Members:
    """The networks of an ensemble in a fixed order, made ready to serve once."""

    def __init__(
        self, members: Mapping[str, PooledClassifier], configs: Sequence[MemberConfig]
    ) -> None:
        self.configs = tuple(configs)
        self.networks = [members[config.name] for config in configs]
        for network in self.networks:
            network.eval()
            fold_batch_norm(network)
            to_channels_last(network)

    def forward(self, photos: Sequence[Pixels]) -> ForwardPass:
        """Pass uint8 photos [h, w, 3] of any sizes, all at once."""
        with torch.inference_mode():
            passes = [
                logits_and_features(network, to_input(photos, config))
                for network, config in zip(self.networks, self.configs, strict=True)
            ]
            pooled = [
                nn.functional.normalize(features.mean(dim=(2, 3)), dim=1).double().numpy()
                for _, features in passes
            ]
            probabilities = [logits.double().softmax(dim=1).numpy() for logits, _ in passes]
        return ForwardPass(
            probabilities=np.stack(probabilities),
            pooled=np.concatenate(pooled, axis=1),
            features=[features for _, features in passes],
        )
