"""Networks as PyTorch runs them on a CPU: the reference of every other engine."""

from collections.abc import Iterable, Sequence
from typing import Final, Self

import torch

from ml.arrays import Pixels
from ml.engine import CPU_BATCH, MemberPass
from ml.members import MemberConfig, PooledClassifier
from ml.served_member import ServedMember


class EagerEngine:
    """Member after member, each on all cores."""

    name: Final = "torch eager fp32"
    device: Final = "cpu"
    batch_size: Final = CPU_BATCH

    def __init__(self, members: Sequence[ServedMember]) -> None:
        self.members = members

    @classmethod
    def of(cls, networks: Iterable[PooledClassifier], configs: Iterable[MemberConfig]) -> Self:
        """Put networks into service, altering them."""
        return cls([ServedMember(*each) for each in zip(networks, configs, strict=True)])

    def run(self, squares: Sequence[Pixels]) -> list[MemberPass]:
        with torch.inference_mode():
            return [
                MemberPass(*(answer.numpy() for answer in member(torch.from_numpy(seen))))
                for member, seen in zip(self.members, squares, strict=True)
            ]
