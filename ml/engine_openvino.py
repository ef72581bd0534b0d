"""Networks on a CPU by OpenVINO, compiled at load from the loaded weights or quantised ones."""

import warnings
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, Self

import numpy as np
import openvino
import torch
from openvino.frontend import FrontEndManager
from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder

from ml.arithmetic import SINGLE, Arithmetic, Precision, read_quantised
from ml.arrays import Pixels
from ml.engine import CPU_BATCH, MemberPass
from ml.members import MemberConfig, PooledClassifier
from ml.served_member import ServedMember


def computes_in(precisions: Iterable[Precision]) -> bool:
    """Whether this processor has instructions for them; else they would only cost digits."""
    able = openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    names = {"f32": "FP32", "bf16": "BF16", "int8": "INT8"}
    return all(names[precision] in able for precision in precisions)


def to_openvino(member: ServedMember) -> openvino.Model:
    """Convert a member for batches of any size.

    The frontend is called directly: `openvino.convert_model` reports its use over the internet.
    """
    side = member.config.input_size
    with warnings.catch_warnings(), torch.inference_mode():
        # PyTorch would rather have torch.export, which takes several times as long to convert.
        warnings.simplefilter("ignore", DeprecationWarning)
        example = torch.zeros(1, side, side, 3, dtype=torch.uint8)
        traced = torch.jit.trace(  # type: ignore[no-untyped-call]
            member, example, check_trace=False
        )
        decoder = TorchScriptPythonDecoder(traced)  # The frontend keeps no reference to it.
        frontend = FrontEndManager().load_by_framework("pytorch")
        model = frontend.convert(frontend.load(decoder))
    model.reshape([-1, side, side, 3])
    return model


@dataclass(frozen=True)
class CompiledMember:
    """A network twice: `side_by_side` runs on one core for each request, `alone` on all cores."""

    side_by_side: openvino.CompiledModel
    alone: openvino.CompiledModel
    cost: int


class OpenVinoEngine:
    """A member over a part of the batch is one task for one core; the cores work side by side.

    A single photo is no batch: there all cores work on one member after the other.
    """

    device: Final = "cpu"
    batch_size: Final = CPU_BATCH

    def __init__(self, members: Sequence[CompiledMember], *, name: str) -> None:
        self.name = name
        cores = members[0].side_by_side.get_property("NUM_STREAMS")
        self._requests = [
            [each.side_by_side.create_infer_request() for _ in range(cores)] for each in members
        ]
        self._alone = [each.alone.create_infer_request() for each in members]
        # The costliest member first, so that the cores end together.
        self._order = sorted(range(len(members)), key=lambda member: -members[member].cost)
        self._cores = ThreadPoolExecutor(cores)

    @classmethod
    def of(
        cls,
        networks: Iterable[PooledClassifier],
        configs: Iterable[MemberConfig],
        *,
        arithmetic: Arithmetic = SINGLE,
        cores: int,
    ) -> Self:
        """Put networks into service, altering them.

        Raises:
            QuantisedError: a file of 8 bits is not the one that the arithmetic names.

        """
        members = [ServedMember(*each) for each in zip(networks, configs, strict=True)]
        chosen = [arithmetic.of(member.config.name) for member in members]
        return cls(
            [_compiled(member, arithmetic, cores) for member in members],
            name="openvino " + "/".join(chosen if len(set(chosen)) > 1 else chosen[:1]),
        )

    def run(self, squares: Sequence[Pixels]) -> list[MemberPass]:
        if len(squares[0]) == 1:
            return list(map(_infer, self._alone, squares))
        parts = _parts(len(squares[0]), len(self._requests[0]))
        answers = {
            (member, part): self._cores.submit(
                _infer, self._requests[member][part], squares[member][rows]
            )
            for member in self._order
            for part, rows in enumerate(parts)
        }
        return [
            MemberPass.joined([answers[member, part].result() for part in range(len(parts))])
            for member in range(len(squares))
        ]


def _compiled(member: ServedMember, arithmetic: Arithmetic, cores: int) -> CompiledMember:
    core = openvino.Core()
    precision = arithmetic.of(member.config.name)
    if precision == "int8":
        model = core.read_model(*read_quantised(member.config.name, arithmetic))
    else:
        model = to_openvino(member)
    options = {
        "INFERENCE_PRECISION_HINT": "bf16" if precision == "bf16" else "f32",
        "INFERENCE_NUM_THREADS": cores,
    }
    return CompiledMember(
        core.compile_model(model, "CPU", {**options, "NUM_STREAMS": cores}),
        core.compile_model(model, "CPU", {**options, "NUM_STREAMS": 1}),
        sum(weight.numel() for weight in member.parameters()),
    )


def _parts(count: int, cores: int) -> list[slice]:
    """Cut `count` rows into parts as even as can be, one for each core, none empty."""
    ends = np.linspace(0, count, min(count, cores) + 1).round().astype(int)
    return [slice(int(start), int(end)) for start, end in pairwise(ends)]


def _infer(request: openvino.InferRequest, squares: Pixels) -> MemberPass:
    logits, pooled, class_maps = request.infer([squares]).to_tuple()
    return MemberPass(logits, pooled, class_maps)
