"""Networks as PyTorch runs them on a CPU: the reference of every other engine."""

from collections.abc import Iterable, Sequence
from typing import Final, Self

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

from ml.arrays import Pixels
from ml.engine import CPU_BATCH, MemberPass
from ml.gradcam import class_maps
from ml.members import MemberConfig, PooledClassifier, to_channels_last
from ml.preprocess import from_squares


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


class ServedMember(nn.Module):
    """A member from uint8 squares to all that the ensemble asks of it; alters the given network."""

    def __init__(self, network: PooledClassifier, config: MemberConfig) -> None:
        super().__init__()
        self.network = network.eval()
        self.config = config
        fold_batch_norm(network)
        to_channels_last(network)

    def forward(self, squares: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Logits, pooled features and class maps of uint8 squares [n, side, side, 3]."""
        features = self.network.body(from_squares(squares, self.config))
        pooled = functional.adaptive_avg_pool2d(features, 1).flatten(1)
        return self.network.head(pooled), pooled, class_maps(self.network, features)


class EagerEngine:
    """Member after member, each on all cores."""

    name: Final = "torch eager fp32"
    device: Final = "cpu"
    batch_size: Final = CPU_BATCH

    def __init__(self, members: Sequence[ServedMember]) -> None:
        self._members = members

    @classmethod
    def of(cls, networks: Iterable[PooledClassifier], configs: Iterable[MemberConfig]) -> Self:
        """Put networks into service, altering them."""
        return cls([ServedMember(*each) for each in zip(networks, configs, strict=True)])

    def run(self, squares: Sequence[Pixels]) -> list[MemberPass]:
        with torch.inference_mode():
            return [
                as_pass(member(torch.from_numpy(seen)))
                for member, seen in zip(self._members, squares, strict=True)
            ]


def as_pass(answers: tuple[Tensor, Tensor, Tensor]) -> MemberPass:
    logits, pooled, maps = (answer.float().numpy() for answer in answers)
    return MemberPass(logits=logits, pooled=pooled, class_maps=maps)
