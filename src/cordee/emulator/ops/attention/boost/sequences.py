"""Attention of sequences that lie in a row, with masks that are added to the scores."""

from collections.abc import Callable, Iterable
from typing import NamedTuple

import torch
from torch import Tensor

from cordee.emulator.ops.attention.dense import Terms
from cordee.emulator.ops.attention.paged import joined_blocks
from cordee.emulator.ops.attention.position import GivenBias
from cordee.emulator.ops.attention.sequences import attend_sequence

# What is added to the scores of sequence number `n` with so many queries and keys: [1, N or 1,
# queries, keys], or nothing.
Added = Callable[[int, int, int], Tensor | None]


class Keys(NamedTuple):
    """Keys and values [S, Nkv, D] of one sequence."""

    key: Tensor
    value: Tensor


def lengths(given: Tensor | list[int]) -> list[int]:
    """Each sequence's length, as a list."""
    return [int(n) for n in (given.tolist() if isinstance(given, Tensor) else given)]


def attend_all(
    query: Tensor, counts: list[int], keys: Iterable[Keys], scale: float, added: Added, out: Tensor
) -> Tensor:
    """Write attention of `query` [T, N, D] into `out` [T, N, Dv]; gives logarithms [T, N, 1].

    `counts` are the queries of each sequence; one without keys leaves its rows alone.
    """
    lse = torch.zeros(*query.shape[:2], 1)
    start = 0
    for number, (count, (key, value)) in enumerate(zip(counts, keys, strict=True)):
        rows = slice(start, start + count)
        start += count
        if count == 0 or key.shape[0] == 0:
            continue
        extra = added(number, count, key.shape[0])
        terms = Terms(scale=scale, bias=None if extra is None else GivenBias(extra))
        found = attend_sequence(query[rows], key, value, terms)
        out[rows] = found.out.reshape(out[rows].shape).to(out.dtype)
        lse[rows] = found.lse
    return lse


def nothing(number: int, queries: int, keys: int) -> None:
    """Adds nothing to any score."""


def packed_keys(key: Tensor, value: Tensor, counts: list[int], heads: int) -> list[Keys]:
    """The keys of sequences in a row, from [T, N, D] or [T, N * D]."""
    sides = (_by_head(key, heads).split(counts), _by_head(value, heads).split(counts))
    return [Keys(k, v) for k, v in zip(*sides, strict=True)]


def cached_keys(
    key: Tensor, value: Tensor, block_table: Tensor, counts: list[int], heads: int
) -> list[Keys]:
    """The keys of sequences in caches [blocks, tokens, N, D] or [blocks, tokens, N * D]."""
    views = [_by_head(cache, heads, axes=4).transpose(1, 2) for cache in (key, value)]
    found = []
    for row, count in zip(block_table, counts, strict=False):
        sides = [joined_blocks(view, row, count)[0].transpose(0, 1) for view in views]
        found.append(Keys(sides[0], sides[1]))
    return found


def by_head(tensor: Tensor, heads: int) -> Tensor:
    """`tensor` as [T, N, D], given so or as [T, N * D]."""
    return _by_head(tensor, heads)


def _by_head(tensor: Tensor, heads: int, axes: int = 3) -> Tensor:
    if tensor.dim() == axes:
        return tensor
    split: Tensor = tensor.unflatten(-1, (heads, -1))
    return split
