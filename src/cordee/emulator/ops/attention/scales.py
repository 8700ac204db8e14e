"""Scales of quantised attention: of keys and values, between its products, and of its output."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum

import torch
from torch import Tensor

from cordee.core.errors import NotEmulated
from cordee.emulator.ops.attention.paged import joined_blocks


class AntiquantMode(IntEnum):
    """The vendor's `key_antiquant_mode`: what shares a scale."""

    CHANNEL_OR_TENSOR = 0
    TOKEN = 1
    HEAD = 2
    TOKEN_AND_HEAD = 3
    TOKEN_PAGED = 4
    TOKEN_AND_HEAD_PAGED = 5


@dataclass(frozen=True, slots=True)
class Antiquant:
    """Turns a quantised cache back into numbers: (stored + offset) * scale."""

    scale: Tensor
    offset: Tensor | None
    mode: int

    def restored(self, stored: Tensor, batch: int, blocks: Tensor | None, start: int) -> Tensor:
        """`stored` [1, N, S, D], the tokens from `start` on of element `batch`, in float32."""
        stored = stored.float()
        scale = self._spread(self.scale, stored, batch, blocks, start)
        if self.offset is not None:
            stored = stored + self._spread(self.offset, stored, batch, blocks, start)
        return stored * scale

    def _spread(
        self, factor: Tensor, stored: Tensor, batch: int, blocks: Tensor | None, start: int
    ) -> Tensor:
        """`factor` as it broadcasts to [1, N, S, D]."""
        heads, length, size = stored.shape[1:]
        factor = factor.float()
        if self.mode == AntiquantMode.CHANNEL_OR_TENSOR:
            return (
                factor.reshape(1, 1, 1, 1)
                if factor.numel() == 1
                else factor.reshape(1, heads, 1, size)
            )
        if self.mode == AntiquantMode.TOKEN:
            rows = factor.reshape(-1, factor.shape[-1])
            return rows[batch, start : start + length].view(1, 1, length, 1)
        if self.mode == AntiquantMode.HEAD:
            return factor.reshape(1, heads, 1, 1)
        if self.mode == AntiquantMode.TOKEN_AND_HEAD:
            rows = factor.reshape(-1, heads, factor.shape[-1])
            return rows[batch, :, start : start + length].view(1, heads, length, 1)
        if blocks is None:
            raise NotEmulated(f"attention: antiquant mode {self.mode} without block_table")
        by_head = heads if self.mode == AntiquantMode.TOKEN_AND_HEAD_PAGED else 1
        paged = factor.reshape(factor.shape[0], by_head, -1, 1)
        return joined_blocks(paged, blocks, length)


def as_float(scale: Tensor) -> Tensor:
    """A scale in float32; the vendor also keeps float32 in the low half of a 64-bit word."""
    if scale.dtype in (torch.int64, torch.uint64):
        return scale.view(torch.float32)[..., 0::2].clone().view(scale.shape)
    return scale.float()


def quantised(out: Tensor, scale: Tensor, offset: Tensor | None) -> Tensor:
    """`out` [B, N, S, D] as int8, with one scale for all or one for each head and channel."""

    def spread(factor: Tensor) -> Tensor:
        factor = factor.float()
        shape = (1, 1) if factor.numel() == 1 else (out.shape[1], out.shape[3])
        return factor.reshape(1, shape[0], 1, shape[1])

    scaled = out * spread(scale)
    if offset is not None:
        scaled = scaled + spread(offset)
    return scaled.round().clamp(-128, 127).to(torch.int8)


def weights_as_int8(scale: Tensor) -> Callable[[Tensor], Tensor]:
    """How softmax weights are rounded before they meet values of int8, `scale` apart."""
    factor = as_float(scale).flatten()[0]
    return lambda weights: (weights * factor).round().clamp(-128, 127)
