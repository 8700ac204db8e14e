"""Position biases (`pse`) of npu_fusion_attention: given in full, compressed, or as ALiBi slopes.

Press, Smith, Lewis, "Train Short, Test Long" (arXiv:2108.12409) has ALiBi: minus a slope per
head times the distance of key and query.
"""

from dataclasses import dataclass
from enum import IntEnum

import torch
from torch import Tensor

from cordee.core.errors import NotEmulated
from cordee.emulator.ops.reference import vjp

COMPRESSED_ROWS = 1024  # rows that stand for a longer ALiBi bias


class PseType(IntEnum):
    """The vendor's `pse_type`."""

    SCALED_AFTER = 0  # scale * QK + pse
    SCALED_TOGETHER = 1  # scale * (QK + pse)
    SLOPES = 2  # scale * QK - slope * distance
    SLOPES_OF_ROOT = 3  # scale * QK - slope * sqrt(distance)


@dataclass(frozen=True, slots=True)
class GivenBias:
    """A bias that broadcasts to [B, N, Sq, Skv]."""

    pse: Tensor

    def rows(self, start: int, stop: int) -> Tensor:
        """The bias of some queries."""
        return self.pse[..., _one_or(self.pse.shape[-2], start, stop), :].float()

    def gradient(self, start: int, stop: int, grad: Tensor) -> Tensor:
        """The gradient of `pse`, given that of its rows."""
        grad_pse = torch.zeros_like(self.pse, dtype=torch.float32)
        rows = grad_pse[..., _one_or(self.pse.shape[-2], start, stop), :]
        rows.copy_(grad.sum_to_size(rows.shape))
        return grad_pse


@dataclass(frozen=True, slots=True)
class CompressedBias:
    """The last 1024 rows of a bias that depends on the distance of key and query alone."""

    pse: Tensor  # [B or 1, N, 1024, Skv]
    keys: int

    def rows(self, start: int, stop: int) -> Tensor:
        """The bias of some queries."""
        return self._rows(self.pse, start, stop)

    def gradient(self, start: int, stop: int, grad: Tensor) -> Tensor:
        """The gradient of `pse`, given that of its rows."""
        rows = self._rows(self.pse, start, stop)
        (found,) = vjp(
            lambda pse: self._rows(pse, start, stop),
            (self.pse.float(),),
            (grad.sum_to_size(rows.shape),),
        )
        assert found is not None
        return found

    def _rows(self, pse: Tensor, start: int, stop: int) -> Tensor:
        length = pse.shape[-1]
        query = torch.arange(start, stop)
        # A row as many times 1024 further down holds the same values as far to the right.
        kept = (query - length) % COMPRESSED_ROWS
        right = (length - COMPRESSED_ROWS) + kept - query
        key = (torch.arange(self.keys) + right.unsqueeze(1)).clamp(max=length - 1)
        return pse.float()[..., kept.unsqueeze(1), key]


@dataclass(frozen=True, slots=True)
class AlibiBias:
    """Minus slope [B or 1, N, 1, 1] times distance, or times its root, counted from two starts."""

    slopes: Tensor
    keys: int
    root: bool
    query_start: int
    key_start: int

    def rows(self, start: int, stop: int) -> Tensor:
        """The bias of some queries."""
        query = torch.arange(start, stop).unsqueeze(1) + self.query_start
        distance = (torch.arange(self.keys) + self.key_start - query).abs().float()
        return -self.slopes.float() * (distance.sqrt() if self.root else distance)

    def gradient(self, start: int, stop: int, grad: Tensor) -> Tensor:
        """Zeros: the operator learns no slopes."""
        return torch.zeros_like(self.slopes, dtype=torch.float32)


def position_bias(
    pse: Tensor, kind: int, queries: int, keys: int, query_start: int = 0, key_start: int = 0
) -> GivenBias | CompressedBias | AlibiBias:
    """The bias that `pse` stands for in attention of `queries` to `keys`.

    Raises NotEmulated for shapes that the documents do not give.
    """
    if kind in (PseType.SLOPES, PseType.SLOPES_OF_ROOT):
        if pse.dim() not in (1, 2):
            raise NotEmulated(
                f"attention: pse of shape {tuple(pse.shape)} is not emulated as slopes"
            )
        slopes = pse.view(-1, pse.shape[-1], 1, 1)
        return AlibiBias(slopes, keys, kind == PseType.SLOPES_OF_ROOT, query_start, key_start)
    if kind not in (PseType.SCALED_AFTER, PseType.SCALED_TOGETHER):
        raise NotEmulated(f"attention: pse_type {kind} is not emulated")
    if pse.dim() == 4 and pse.shape[-2] in (1, queries) and pse.shape[-1] == keys:
        return GivenBias(pse)
    if pse.dim() == 4 and pse.shape[-2] == COMPRESSED_ROWS:
        return CompressedBias(pse, keys)
    raise NotEmulated(f"attention: pse of shape {tuple(pse.shape)} is not emulated")


def _one_or(count: int, start: int, stop: int) -> slice:
    return slice(0, 1) if count == 1 else slice(start, stop)
