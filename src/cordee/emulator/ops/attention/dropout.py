"""Dropout inside attention: the bits of the chip's mask, and the random numbers behind them."""

import torch
from torch import Tensor

from cordee.emulator.ops.demands import require
from cordee.emulator.ops.dropout import gen_mask_of_seed

# How far one operator moves the generator (op_plugin passes 10, the adapter rounds it up to 12).
OFFSET_STEP = 12


def draw() -> tuple[int, int]:
    """Seed and offset of the device's generator, which moves on."""
    generator = _generator()
    offset = generator.get_offset()
    generator.set_offset(offset + OFFSET_STEP)
    return int(generator.initial_seed()), int(offset)


def current_seed() -> int:
    """Seed of the device's generator, which stays where it is."""
    return int(_generator().initial_seed())


def generated_bits(like: Tensor, keep_prob: float, seed: int, offset: int, count: int) -> Tensor:
    """The packed mask [bytes] that the chip makes for `count` weights."""
    mask: Tensor = gen_mask_of_seed(like, [count], 1.0 - keep_prob, seed, offset)
    return mask


def unpacked(bits: Tensor, count: int) -> Tensor:
    """The first `count` bits of a packed mask as booleans; a byte's lowest bit comes first."""
    require(
        bits.numel() * 8 >= count,
        f"a dropout mask of {bits.numel()} bytes is too short for {count} weights",
    )
    used = bits.flatten()[: (count + 7) // 8].view(torch.uint8).unsqueeze(1)
    return ((used >> torch.arange(8, dtype=torch.uint8)) & 1).bool().flatten()[:count]


def _generator() -> torch.Generator:
    generators: tuple[torch.Generator, ...] = torch.npu.default_generators  # type: ignore[attr-defined]
    return generators[torch.npu.current_device()]  # type: ignore[attr-defined]
