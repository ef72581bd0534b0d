"""Where a training run stands, in one safetensors file: weights, averages, optimizer, progress."""

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor
from torch.optim import Optimizer

Progress = dict[str, object]


def save_tensors(
    path: Path, tensors: Mapping[str, Tensor], metadata: dict[str, str] | None = None
) -> None:
    """Written beside and renamed, so that a kill leaves the former file whole."""
    unfinished = path.with_suffix(".part")
    whole = {name: tensor.detach().clone().contiguous() for name, tensor in tensors.items()}
    save_file(whole, unfinished, metadata=metadata)
    unfinished.replace(path)


def _optimizer_tensors(optimizer: Optimizer) -> dict[str, Tensor]:
    state = optimizer.state_dict()["state"]
    return {
        f"{index}.{name}": value for index, kept in state.items() for name, value in kept.items()
    }


def _laid_out_as(parameter: Tensor, value: Tensor) -> Tensor:
    """Copy with the strides of the parameter: the fused step reads both as plain memory."""
    if value.shape != parameter.shape:
        return value
    return torch.empty_like(parameter).copy_(value)


def _restore_optimizer(optimizer: Optimizer, tensors: dict[str, Tensor]) -> None:
    parameters = [item for group in optimizer.param_groups for item in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        index, name = key.split(".", 1)
        state.setdefault(int(index), {})[name] = _laid_out_as(parameters[int(index)], value)
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": state, "param_groups": groups})


def save_checkpoint(
    path: Path,
    *,
    member: torch.nn.Module,
    average: torch.nn.Module,
    optimizer: Optimizer,
    progress: Progress,
) -> None:
    groups = {
        "member": member.state_dict(),
        "average": average.state_dict(),
        "optimizer": _optimizer_tensors(optimizer),
    }
    tensors = {
        f"{group}/{name}": tensor
        for group, named in groups.items()
        for name, tensor in named.items()
    }
    save_tensors(path, tensors, metadata={"progress": json.dumps(progress)})


def load_checkpoint(
    path: Path, *, member: torch.nn.Module, average: torch.nn.Module, optimizer: Optimizer
) -> Progress:
    groups: dict[str, dict[str, Tensor]] = {"member": {}, "average": {}, "optimizer": {}}
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
        for key in file.keys():  # noqa: SIM118 - this handle is no mapping
            group, name = key.split("/", 1)
            groups[group][name] = file.get_tensor(key)
    member.load_state_dict(groups["member"])
    average.load_state_dict(groups["average"])
    _restore_optimizer(optimizer, groups["optimizer"])
    progress: Progress = json.loads(metadata["progress"])
    return progress
