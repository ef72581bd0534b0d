"""Networks on an NVIDIA GPU: half precision, channels last, one CUDA graph for each bucket."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from ml.arrays import Pixels
from ml.engine import DeviceLostError, MemberPass
from ml.engine_buckets import BucketEngine
from ml.members import MemberConfig, PooledClassifier
from ml.served_member import ServedMember

DEVICE: Final = "cuda:0"  # CUDA_VISIBLE_DEVICES picks the card of this process.
DTYPE: Final = torch.float16  # As the weights of a bundle are kept; three more bits than bfloat16.
_WARM_UP: Final = 3  # Passes before a capture, as PyTorch's notes on CUDA graphs advise.

Answer = tuple[Tensor, Tensor, Tensor]


@dataclass(frozen=True)
class _Graph:
    """A recorded pass of one bucket and the tensors that it reads and writes, all members'."""

    graph: torch.cuda.CUDAGraph
    pinned: list[Tensor]
    inputs: list[Tensor]
    answers: list[Answer]


class CudaRunner:
    """Records a graph for a bucket at its first batch, then only replays it."""

    def __init__(self, members: Sequence[ServedMember]) -> None:
        self._members = members
        self._graphs: dict[int, _Graph] = {}

    def run(self, squares: Sequence[Pixels]) -> list[MemberPass]:
        bucket = len(squares[0])
        if bucket not in self._graphs:
            self._graphs[bucket] = self._record([own.shape for own in squares])
        recorded = self._graphs[bucket]
        for own, pinned, there in zip(squares, recorded.pinned, recorded.inputs, strict=True):
            pinned.copy_(torch.from_numpy(own))
            there.copy_(pinned, non_blocking=True)
        recorded.graph.replay()
        # A copy to the host waits for the graph; what failed in it is raised here.
        return [
            MemberPass(*(tensor.cpu().numpy() for tensor in answer)) for answer in recorded.answers
        ]

    def forget_above(self, bucket: int) -> None:
        self._graphs = {size: graph for size, graph in self._graphs.items() if size <= bucket}
        torch.cuda.empty_cache()

    def _record(self, shapes: Sequence[tuple[int, ...]]) -> _Graph:
        pinned = [torch.zeros(shape, dtype=torch.uint8, pin_memory=True) for shape in shapes]
        inputs = [own.to(DEVICE) for own in pinned]
        graph = torch.cuda.CUDAGraph()
        aside = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        with torch.inference_mode(), torch.backends.cudnn.flags(enabled=True, benchmark=True):
            aside.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(aside):
                for _ in range(_WARM_UP):
                    self._pass(inputs)
            torch.cuda.current_stream().wait_stream(aside)
            with torch.cuda.graph(graph):
                answers = self._pass(inputs)
        return _Graph(graph, pinned, inputs, answers)

    def _pass(self, inputs: Sequence[Tensor]) -> list[Answer]:
        return [member(own) for member, own in zip(self._members, inputs, strict=True)]


def cuda_engine(
    networks: Iterable[PooledClassifier], configs: Sequence[MemberConfig]
) -> BucketEngine:
    """Put networks into service, altering them.

    Raises:
        DeviceLostError: the GPU does not work, or has no memory for one photo.

    """
    if not torch.cuda.is_available():
        raise DeviceLostError("no usable GPU: see nvidia-smi, or run on the CPU")
    try:
        members = [
            ServedMember(network, config, device=DEVICE, dtype=DTYPE)
            for network, config in zip(networks, configs, strict=True)
        ]
    except RuntimeError as error:
        raise DeviceLostError(f"the networks do not fit on {DEVICE}: {error}") from error
    sides = [config.input_size for config in configs]
    return BucketEngine(CudaRunner(members), sides, name="torch cuda graphs fp16", device=DEVICE)
