"""Decoding over blocks: one query of each sequence, many sequences at once.

Sequences are put together with those that need as many blocks, rounded up to a power of two. That number follows from
a sequence's own length, so the sums of its attention have the same order whatever else is in the batch.
"""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from cordee.emulator.ops.attention.dense import Attended, Terms, attend
from cordee.emulator.ops.demands import require

NUMBERS_AT_ONCE = 2**24  # of keys that are gathered for some sequences, 64 MiB in float32


def decoded(
    query: Tensor, key: Tensor, value: Tensor, table: Tensor, lengths: Sequence[int], scale: float
) -> Attended:
    """Attention of `query` [B, N, 1, D] to the first `lengths` tokens of the sequences in `table` [B, blocks].

    `key` and `value` are [blocks, N, tokens, D].
    """
    tokens = key.shape[2]
    counts = torch.tensor(lengths)
    needed = (counts + tokens - 1) // tokens
    _check(table, needed, counts, key.shape[0])
    parts, order = [], []
    for chosen, blocks in _alike(needed, max(1, NUMBERS_AT_ONCE // key[0].numel())):
        # Places after the last block are given the first one: they are hidden.
        within = torch.arange(blocks) < needed[chosen, None]
        rows = torch.nn.functional.pad(table[chosen, :blocks], (0, max(0, blocks - table.shape[1])))
        places = rows.long().masked_fill(~within, 0)
        hidden = (torch.arange(blocks * tokens) >= counts[chosen, None])[:, None, None]
        keys, values = (cache[places].transpose(1, 2).flatten(2, 3) for cache in (key, value))
        # What lies in the cache behind a sequence may be no number at all.
        values = values.masked_fill(hidden.transpose(2, 3), 0)
        parts.append(
            attend(query[chosen], keys, values, Terms(scale=scale, hidden=lambda *_, h=hidden: h))
        )
        order.append(chosen)
    back = torch.cat(order).argsort()
    return Attended(*(torch.cat(part)[back] for part in zip(*parts, strict=True)))


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
