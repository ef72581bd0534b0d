"""How large a member is: parameters, and multiply-accumulates of one forward pass."""

import torch
from torch.utils.flop_counter import FlopCounterMode

from ml.members import MemberConfig, build_member


def size_of(config: MemberConfig) -> dict[str, int]:
    """Parameters, and MACs for one photo at the member's own input size."""
    member = build_member(config).eval()
    counter = FlopCounterMode(display=False)
    with counter, torch.inference_mode():
        member(torch.zeros(1, 3, config.input_size, config.input_size))
    return {
        "parameters": sum(parameter.numel() for parameter in member.parameters()),
        "macs": counter.get_total_flops() // 2,
    }
