"""How rows are divided into groups, and what a group's weights and scales hold."""

import torch
from torch import Tensor

from cordee.emulator.ops.demands import require
from cordee.emulator.ops.formats import unpack_int4

CUMULATIVE, COUNT, KEY_VALUE = 0, 1, 2

Group = tuple[int, int, int]  # which weight, first row, end


def groups_of(group_list: Tensor, kind: int) -> list[Group]:
    """The groups that `group_list` names; `kind` says how it names them.

    0: where each group ends. 1: how many rows each has. 2: [which, how many] pairs.
    """
    which: list[int] = list(range(group_list.shape[0]))
    if kind == KEY_VALUE:
        which = group_list[:, 0].tolist()
        ends = group_list[:, 1].cumsum(0).tolist()
    elif kind == COUNT:
        ends = group_list.cumsum(0).tolist()
    else:
        ends = group_list.tolist()
    starts = [0, *ends[:-1]]
    for start, end in zip(starts, ends, strict=True):
        require(start <= end, f"group_list must not fall, but has {ends}")
    return list(zip(which, starts, ends, strict=True))


def whole_product(x: Tensor, weight: Tensor) -> Tensor:
    """`x @ weight` of whole numbers, exact, as float64 (sums of int8 products stay below 2^53)."""
    return x.double() @ weight.double()


def product(x: Tensor, weight: Tensor) -> Tensor:
    """`x @ weight`, added up in float32; whole numbers exactly, then float32."""
    if x.is_floating_point():
        return x.float() @ weight.float()
    return whole_product(x, weight).float()


def unpacked(matrix: Tensor) -> Tensor:
    """`matrix` with its int4, if it holds eight in each int32, one by one."""
    if matrix.dtype != torch.int32:
        return matrix
    if is_transposed(matrix):
        return unpack_int4(matrix.mT).mT
    return unpack_int4(matrix)


def is_transposed(matrix: Tensor) -> bool:
    """Whether the last two axes lie in memory the other way round."""
    last, before = matrix.stride(-1), matrix.stride(-2)
    return before == 1 and last == matrix.shape[-2] and matrix.shape[-2:] != (1, 1)


def plain_weight(weight: Tensor, columns: int) -> Tensor:
    """`weight` [experts, k, n] from itself or from its blocked form [experts, n/32, k/16, 16, 32]."""
    if weight.dim() != 5:
        return unpacked(weight)
    blocks = unpack_int4(weight) if weight.dtype == torch.int32 else weight
    return blocks.permute(0, 2, 3, 1, 4).flatten(3).flatten(1, 2)[..., :columns]


def int8_times_int4(x: Tensor, weight: Tensor, scale: Tensor, assist: Tensor) -> Tensor:
    """`x` int8 [m, k] times int4 [k, n], scaled for each of the [groups of k, n].

    The chip multiplies the two halves of `x`, of which the low one is shifted by 8 to be signed;
    `assist` [n] is the caller's 8 * sum(weight * scale), which undoes that.
    """
    pieces = scale.shape[0]
    inner = x.shape[1] // pieces
    shifted = (x.long() - 8).reshape(len(x), pieces, inner).transpose(0, 1)
    by_piece = whole_product(shifted, weight.reshape(pieces, inner, weight.shape[1])).float()
    return (by_piece * scale.unsqueeze(1)).sum(0) + assist.float()
