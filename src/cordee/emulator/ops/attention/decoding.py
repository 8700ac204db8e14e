"""Decoding over blocks: one query of each sequence, many sequences at once.

Sequences are put together with those that need as many blocks, rounded up to a power of two. That number follows from
a sequence's own length, so the sums of its attention have the same order whatever else is in the batch. A matrix
product would not do: what a library adds first may depend on how many matrices it is given, and on where they lie.
"""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from cordee.emulator.ops.attention.dense import HIGHEST, LOWEST, Attended
from cordee.emulator.ops.demands import require

NUMBERS_AT_ONCE = 2**24  # of products of some sequences, 64 MiB in float32


def decoded(
    query: Tensor, key: Tensor, value: Tensor, table: Tensor, lengths: Sequence[int], scale: float
) -> Attended:
    """Attention of `query` [B, N, 1, D] to the first `lengths` tokens of the sequences in `table` [B, blocks].

    `key` and `value` are [blocks, N, tokens, D].
    """
    tokens, shared = key.shape[2], query.shape[1] // key.shape[1]
    counts = torch.tensor(lengths)
    needed = (counts + tokens - 1) // tokens
    _check(table, needed, counts, key.shape[0])
    parts, order = [], []
    for chosen, blocks in _alike(needed, max(1, NUMBERS_AT_ONCE // (shared * key[0].numel()))):
        # Places after the last block are given the first one: they are hidden.
        within = torch.arange(blocks) < needed[chosen, None]
        rows = torch.nn.functional.pad(table[chosen, :blocks], (0, max(0, blocks - table.shape[1])))
        places = rows.long().masked_fill(~within, 0)
        hidden = torch.arange(blocks * tokens) >= counts[chosen, None]
        keys, values = (cache[places].transpose(1, 2).flatten(2, 3) for cache in (key, value))
        parts.append(_attended(query[chosen], keys, values, hidden, scale))
        order.append(chosen)
    back = torch.cat(order).argsort()
    return Attended(*(torch.cat(part)[back] for part in zip(*parts, strict=True)))


def _attended(query: Tensor, key: Tensor, value: Tensor, hidden: Tensor, scale: float) -> Attended:
    """Attention of `query` [B, N, 1, D] to what is not `hidden` [B, S] of `key` and `value` [B, Nkv, S, D]."""
    batch, heads, _, width = query.shape
    grouped = query.float().view(batch, key.shape[1], -1, 1, width)
    unseen = hidden[:, None, None]
    scores = (grouped * key.float()[:, :, None]).sum(-1) * scale
    scores = scores.masked_fill(unseen, -torch.inf)
    maximum = scores.amax(-1, keepdim=True).clamp_min(LOWEST)
    weights = (scores - maximum).exp()
    total = weights.sum(-1, keepdim=True)
    total = total.masked_fill(total == 0, HIGHEST)
    # What lies in the cache behind a sequence may be no number at all.
    seen = value.float().masked_fill(hidden[:, None, :, None], 0)
    out = ((weights / total)[..., None] * seen[:, :, None]).sum(-2)
    by_head = (part.reshape(batch, heads, 1, -1) for part in (out, maximum, total))
    return Attended(*by_head)


def _check(table: Tensor, needed: Tensor, counts: Tensor, blocks: int) -> None:
    most = int(needed.argmax())
    require(
        int(needed[most]) <= table.shape[1],
        f"{int(counts[most])} tokens need {int(needed[most])} blocks, but block_table has {table.shape[1]}",
    )
    used = torch.arange(table.shape[1]) < needed[:, None]
    wrong = (used & ((table < 0) | (table >= blocks))).any(1).nonzero()
    if len(wrong):
        row = int(wrong[0])
        named = table[row, : int(needed[row])].tolist()
        require(False, f"block_table names blocks outside the cache's {blocks}: {named}")


def _alike(needed: Tensor, blocks_at_once: int) -> Iterator[tuple[Tensor, int]]:
    """Sequences that go together, and how many blocks they are given."""
    reach = 2 ** needed.clamp_min(1).double().log2().ceil().long()
    for blocks in reach.unique().tolist():
        for chosen in (reach == blocks).nonzero()[:, 0].split(max(1, blocks_at_once // blocks)):
            yield chosen, blocks
