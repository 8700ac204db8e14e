"""Sequences of a batch in the layouts BSND, TND and PA_BSND, and attention of one to chosen keys."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from cordee.emulator.ops.attention import layouts
from cordee.emulator.ops.attention.dense import Attended, Gradients, Terms, attend, attend_grad
from cordee.emulator.ops.attention.masks import EVERY_TOKEN, Rows, window
from cordee.emulator.ops.attention.paged import joined_blocks
from cordee.emulator.ops.demands import require

# What the operators take as lengths: a list or a tensor of them.
Lengths = Sequence[int] | Tensor | None


class Place(NamedTuple):
    """Where one sequence lies in a tensor: in its batch, or in the row of all tokens."""

    batch: int | None
    tokens: slice

    @property
    def at(self) -> slice | tuple[int, slice]:
        """What to index a tensor with, for [S, N, D]."""
        return self.tokens if self.batch is None else (self.batch, self.tokens)

    @property
    def length(self) -> int:
        """How many tokens it has."""
        return int(self.tokens.stop - self.tokens.start)


def numbers(lengths: Lengths) -> list[int]:
    """`lengths` as a list; empty for None."""
    if lengths is None:
        return []
    return [int(n) for n in (lengths.tolist() if isinstance(lengths, Tensor) else lengths)]


def places(tensor: Tensor, layout: str, lengths: Lengths) -> list[Place]:
    """The sequences in `tensor`: lengths are each one's own in BSND, running sums in TND."""
    given = numbers(lengths)
    if layout == "TND":
        require(bool(given), "layout TND needs the lengths of all sequences")
        return [Place(None, span) for span in layouts.spans(given)]
    require(layout == "BSND", f"layout {layout} is neither BSND nor TND")
    whole = tensor.shape[1]
    return [Place(b, slice(0, given[b] if given else whole)) for b in range(tensor.shape[0])]


def keys(
    tensor: Tensor, layout: str, lengths: Lengths, block_table: Tensor | None, count: int
) -> list[Tensor]:
    """The tokens [S, N, D] of `count` sequences, from blocks where the layout is PA_BSND."""
    if layout != "PA_BSND":
        return [tensor[place.at] for place in places(tensor, layout, lengths)]
    require(
        block_table is not None and lengths is not None,
        "layout PA_BSND needs block_table and the lengths of keys",
    )
    assert block_table is not None
    view, given = tensor.transpose(1, 2), numbers(lengths)
    return [joined_blocks(view, block_table[b], given[b])[0].transpose(0, 1) for b in range(count)]


def attend_sequence(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    terms: Terms,
    rounded: Callable[[Tensor], Tensor] | None = None,
) -> Attended:
    """Attention of one sequence; all tensors are [S, N, D], statistics [S, N, 1]."""
    found = attend(_batched(query), _batched(key), _batched(value), terms, rounded)
    return Attended(*(part[0].transpose(0, 1) for part in found))


def attend_sequence_grad(
    query: Tensor, key: Tensor, value: Tensor, grad: Tensor, attended: Attended, terms: Terms
) -> Gradients:
    """Gradients of `attend_sequence`, as [S, N, D]."""
    saved = Attended(*(_batched(part) for part in attended))
    found = attend_grad(
        _batched(query), _batched(key), _batched(value), _batched(grad), saved, terms
    )
    sides = [part[0].transpose(0, 1) for part in (found.query, found.key, found.value)]
    return Gradients(sides[0], sides[1], sides[2], None, found.sink)


def selected(blocks: Tensor, block_size: int, keys: int, group: int) -> Rows:
    """Hide all keys but those in `blocks` [Sq, Nkv, count]; blocks below zero count for nothing.

    `group` query heads share the blocks of one key head.
    """
    block_count = -(-keys // block_size)

    def rows(start: int, stop: int) -> Tensor:
        chosen = blocks[start:stop].transpose(0, 1).long()
        seen = torch.zeros(*chosen.shape[:2], block_count + 1, dtype=torch.bool)
        # The last column takes what is no block.
        seen.scatter_(-1, torch.where(chosen < 0, block_count, chosen), True)
        by_key = seen[..., :block_count].repeat_interleave(block_size, -1)[..., :keys]
        return ~by_key.repeat_interleave(group, 0).unsqueeze(0)

    return rows


def selected_causal(blocks: Tensor, block_size: int, keys: int, group: int) -> Rows:
    """The same, and hide keys that come after the query; both end at the same token."""
    chosen = selected(blocks, block_size, keys, group)
    seen = window(EVERY_TOKEN, 0, keys - blocks.shape[0], keys)
    return lambda start, stop: chosen(start, stop) | seen(start, stop)


def _batched(tensor: Tensor) -> Tensor:
    return tensor.transpose(0, 1).unsqueeze(0)
