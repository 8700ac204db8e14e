"""Numbers in four bits: one scale for each group of 128, and what is lost is given back to be added next time."""

import torch
from torch import Tensor

GROUP = 128
SCALE_BYTES = 2
LARGEST = 7


def size_bytes(numbers: int) -> int:
    """Of so many numbers."""
    groups = -(-numbers // GROUP)
    return groups * (GROUP // 2 + SCALE_BYTES)


def packed(values: Tensor) -> Tensor:
    """[size_bytes] uint8 of [n] float32: scales of groups, then the numbers, two in a byte."""
    groups = torch.nn.functional.pad(values, (0, -values.numel() % GROUP)).view(-1, GROUP)
    scales = (groups.abs().amax(1) / LARGEST).to(torch.bfloat16)
    divisors = scales.float().clamp_min(torch.finfo(torch.float32).tiny).unsqueeze(1)
    whole = (groups / divisors).round_().clamp_(-LARGEST, LARGEST).add_(LARGEST).to(torch.uint8)
    pairs = whole.view(-1, 2)
    nibbles = pairs[:, 0] | (pairs[:, 1] << 4)
    return torch.cat([scales.view(torch.uint8).view(-1), nibbles])


def unpacked(data: Tensor, numbers: int) -> Tensor:
    """[numbers] float32 of what `packed` made."""
    groups = -(-numbers // GROUP)
    cut = groups * SCALE_BYTES
    scales = data[:cut].clone().view(torch.bfloat16).float().unsqueeze(1)
    nibbles = data[cut:]
    whole = torch.stack([nibbles & 15, nibbles >> 4], dim=1).float().sub_(LARGEST)
    return (whole.view(groups, GROUP) * scales).view(-1)[:numbers]
