"""Native sparse attention while decoding: one query a sequence, keys and values in blocks.

Yuan et al., "Native Sparse Attention" (arXiv:2502.11089), as `native_sparse` has it.
"""

import torch
from torch import Tensor

from cordee.core.errors import NotEmulated
from cordee.emulator.ops.attention.dense import Terms
from cordee.emulator.ops.attention.native_sparse import importance
from cordee.emulator.ops.attention.paged import gathered
from cordee.emulator.ops.attention.sequences import attend_sequence, selected
from cordee.emulator.ops.contract import refuse
from cordee.emulator.ops.demands import require
from cordee.emulator.ops.reference import Chapter
from cordee.emulator.ops.sources import CONFIG

chapter = Chapter(source=CONFIG)


@chapter.reference("npu::npu_nsa_compress_infer.cache")
def compress_infer(
    input: Tensor,
    weight: Tensor,
    slot_mapping: Tensor,
    compress_block_size: int,
    compress_stride: int,
    page_block_size: int,
    block_table: Tensor | None = None,
    actual_seq_len: list[int] | None = None,
    cache: Tensor | None = None,
) -> Tensor:
    """Write into `cache` the block of each sequence that its newest token makes whole."""
    assert cache is not None
    assert block_table is not None
    slots = cache.view(-1, *cache.shape[-2:])
    for b, (slot, length) in enumerate(
        zip(slot_mapping.tolist(), actual_seq_len or (), strict=True)
    ):
        if length < compress_block_size or (length - compress_block_size) % compress_stride:
            continue
        flat = input.flatten(2) if input.dim() == 4 else input
        tokens = gathered(flat, block_table[b], length, weight.shape[1])[0]
        last = tokens[:, -compress_block_size:].float()
        slots[slot] = (last * weight.float().T.unsqueeze(-1)).sum(1).to(cache.dtype)
    return cache


@chapter.reference("npu::npu_nsa_compress_attention_infer")
def compress_attention_infer(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    scale_value: float,
    head_num: int,
    key_value_head_num: int,
    select_block_size: int,
    select_block_count: int,
    page_block_size: int,
    compress_block_size: int,
    compress_stride: int,
    layout: str = "TND",
    atten_mask: Tensor | None = None,
    block_table: Tensor | None = None,
    topk_mask: Tensor | None = None,
    actual_seq_qlen: list[int] | None = None,
    actual_cmp_seq_kvlen: list[int] | None = None,
    actual_sel_seq_kvlen: list[int] | None = None,
) -> tuple[Tensor, Tensor]:
    """Attention to compressed keys, and the blocks it chooses: first, last two, then the best."""
    operator = "npu_nsa_compress_attention_infer"
    refuse(operator, atten_mask=atten_mask, topk_mask=topk_mask)
    rows = _one_query_each(operator, query, layout, head_num, actual_seq_qlen)
    lengths = actual_cmp_seq_kvlen or []
    steps = select_block_size // compress_stride, compress_block_size // compress_stride
    out, chosen = [], []
    for b, length in enumerate(lengths):
        keys, values = _cached(key, value, block_table, b, length, key_value_head_num)
        found = attend_sequence(rows[b], keys, values, Terms(scale=scale_value))
        out.append(found.out)
        weights = _weights(rows[b], keys, scale_value)
        covered = (length - 1) * compress_stride + compress_block_size
        blocks = -(-covered // select_block_size)
        score = importance(weights, key_value_head_num, blocks, *steps)
        score[..., [0, blocks - 2, blocks - 1]] = torch.inf
        best = score.sort(dim=-1, descending=True, stable=True).indices[..., :select_block_count]
        chosen.append(best.transpose(0, 1).int())
    return _like(torch.stack(out), query, layout), _chosen_like(torch.stack(chosen), layout)


@chapter.reference("npu::npu_nsa_select_attention_infer")
def select_attention_infer(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    topk_indices: Tensor,
    scale_value: float,
    head_num: int,
    key_value_head_num: int,
    select_block_size: int,
    select_block_count: int,
    page_block_size: int,
    layout: str = "BSND",
    atten_mask: Tensor | None = None,
    block_table: Tensor | None = None,
    actual_seq_qlen: list[int] | None = None,
    actual_seq_kvlen: list[int] | None = None,
) -> Tensor:
    """Attention to the blocks in `topk_indices`; those below zero count for nothing."""
    operator = "npu_nsa_select_attention_infer"
    refuse(operator, atten_mask=atten_mask)
    rows = _one_query_each(operator, query, layout, head_num, actual_seq_qlen)
    out = []
    for b, length in enumerate(actual_seq_kvlen or ()):
        keys, values = _cached(key, value, block_table, b, length, key_value_head_num)
        blocks = topk_indices[b].reshape(1, key_value_head_num, -1)
        hidden = selected(blocks, select_block_size, length, head_num // key_value_head_num)
        terms = Terms(scale=scale_value, hidden=hidden)
        out.append(attend_sequence(rows[b], keys, values, terms).out)
    return _like(torch.stack(out), query, layout)


def _one_query_each(
    operator: str, query: Tensor, layout: str, heads: int, lengths: list[int] | None
) -> Tensor:
    """The queries as [B, 1, N, D]."""
    require(
        layout in ("BSH", "BSND", "TND"),
        f"layout only support BSH or BSND or TND now, but got {layout}",
    )
    rows = query.unsqueeze(1) if layout == "TND" else query
    if layout == "BSH":
        rows = query.unflatten(-1, (heads, -1))
    if rows.shape[1] != 1 or (lengths and max(_steps(lengths)) > 1):
        raise NotEmulated(f"{operator}: more than one query a sequence is not emulated")
    return rows


def _steps(ends: list[int]) -> list[int]:
    """What each of `ends` adds; lengths of one each also pass as ends."""
    return [end - start for start, end in zip([0, *ends], ends, strict=False)]


def _cached(
    key: Tensor, value: Tensor, block_table: Tensor | None, b: int, length: int, heads: int
) -> tuple[Tensor, Tensor]:
    require(block_table is not None, "block_table is needed")
    assert block_table is not None
    keys, values = (
        gathered(cache, block_table[b], length, heads)[0].transpose(0, 1) for cache in (key, value)
    )
    return keys, values


def _weights(query: Tensor, key: Tensor, scale: float) -> Tensor:
    keys = key.float().repeat_interleave(query.shape[1] // key.shape[1], 1)
    return (torch.einsum("snd,tnd->nst", query.float(), keys) * scale).softmax(-1)


def _like(out: Tensor, query: Tensor, layout: str) -> Tensor:
    """`out` [B, 1, N, D] in the layout of `query`."""
    if layout == "TND":
        out = out.squeeze(1)
    elif layout == "BSH":
        out = out.flatten(-2)
    return out.to(query.dtype)


def _chosen_like(chosen: Tensor, layout: str) -> Tensor:
    return chosen if layout == "BSND" else chosen.squeeze(1)
