"""Ways to deal with unequal classes: how often each is drawn, and which loss the draws feed.

`python -m ml.compare_imbalance` trains with each of them and writes the table of the results.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import torch
from torch import Tensor
from torch.nn import functional

from ml.arrays import Floats

FOCAL_GAMMA: Final = 1.0


class Loss(StrEnum):
    CROSS_ENTROPY = "cross_entropy"
    LOGIT_ADJUSTED = "logit_adjusted"
    FOCAL = "focal"


@dataclass(frozen=True)
class Imbalance:
    """`sampling_power` 0 draws lesions as they come, 1 draws all classes equally often."""

    sampling_power: float
    loss: Loss


IMBALANCE: Final = {
    "plain": Imbalance(0.0, Loss.CROSS_ENTROPY),
    "logit_adjustment": Imbalance(0.0, Loss.LOGIT_ADJUSTED),
    "balanced_sampling": Imbalance(1.0, Loss.CROSS_ENTROPY),
    "focal": Imbalance(0.0, Loss.FOCAL),
    "soft_sampling": Imbalance(0.7, Loss.CROSS_ENTROPY),
    "soft_sampling_and_adjustment": Imbalance(0.7, Loss.LOGIT_ADJUSTED),
}


def prevalence_left(way: Imbalance) -> float:
    """Power of the prevalence that stays in the answers of a member trained in this way.

    Logit adjustment takes out what the draws leave; without it a member learns the draws.
    """
    return 0.0 if way.loss is Loss.LOGIT_ADJUSTED else 1.0 - way.sampling_power


def log_shares(shares: Floats) -> Tensor:
    """Logarithms [classes] of the shares in which classes are drawn; an absent class gets zero."""
    drawn = torch.from_numpy(shares)
    return torch.where(drawn > 0, drawn.clamp_min(1e-12).log(), 0.0).float()


def classification_loss(
    loss: Loss, logits: Tensor, labels: Tensor, *, log_prior: Tensor, smoothing: float
) -> Tensor:
    """Mean loss of logits [n, classes].

    Logit-adjusted: cross-entropy of logits plus log prior, after which the bare logits rank the
    classes as if all were equally common (Menon et al. 2021). Focal: easy cases count less (Lin et
    al. 2017).
    """
    if loss is Loss.LOGIT_ADJUSTED:
        logits = logits + log_prior
    each = functional.cross_entropy(logits, labels, label_smoothing=smoothing, reduction="none")
    if loss is Loss.FOCAL:
        certain = logits.softmax(dim=1).gather(1, labels.unsqueeze(1)).squeeze(1)
        each = each * (1.0 - certain) ** FOCAL_GAMMA
    return each.mean()
