"""A member as every engine runs it: from the bytes of a photo to all that the ensemble asks."""

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

from ml.gradcam import class_maps
from ml.members import MemberConfig, PooledClassifier, to_channels_last
from ml.preprocess import scaled, scales_of


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
    """Takes over the given network and alters it: norms folded, channels last, body in `dtype`.

    Means and head stay in single precision, so that small logits keep their digits.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        network: PooledClassifier,
        config: MemberConfig,
        *,
        device: str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        self.network = network.eval()
        self.config = config
        self.dtype = dtype
        mean, std = scales_of(config, torch.device("cpu"))
        self.register_buffer("mean", mean)
        self.register_buffer("std", std)
        fold_batch_norm(network)
        to_channels_last(network)
        self.to(device)
        network.body.to(dtype)

    def forward(self, squares: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Logits, pooled features and class maps of uint8 squares [n, side, side, 3]."""
        inputs = scaled(squares, self.mean, self.std).to(self.dtype)
        features = self.network.body(inputs).float()
        pooled = functional.adaptive_avg_pool2d(features, 1).flatten(1)
        return self.network.head(pooled), pooled, class_maps(self.network, features)
