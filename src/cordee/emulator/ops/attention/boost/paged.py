"""ATB's attention to caches of blocks [blocks, tokens, N, D]."""

import torch
from torch import Tensor

from cordee.core.errors import NotEmulated
from cordee.emulator.ops.attention.boost.masks import causal
from cordee.emulator.ops.attention.boost.sequences import (
    attend_all,
    by_head,
    cached_keys,
    lengths,
    nothing,
)
from cordee.emulator.ops.attention.dense import Terms
from cordee.emulator.ops.attention.sequences import attend_sequence
from cordee.emulator.ops.demands import require
from cordee.emulator.ops.reference import Chapter
from cordee.emulator.ops.sources import code_of

chapter = Chapter(source=code_of("atb/PagedAttentionAtb.cpp"))

NORM_COMPRESS = 5  # mask_type of paged attention; self-attention numbers its own
ONLINE_INT8 = 3  # quant_type: query, key and value are int8, the softmax becomes int8
INT8_LARGEST = 127


@chapter.reference("atb::_npu_paged_attention")
def paged_attention(
    query: Tensor,
    key_cache: Tensor,
    value_cache: Tensor,
    num_kv_heads: int,
    num_heads: int,
    scale_value: float,
    block_table: Tensor,
    context_lens: Tensor,
    out: Tensor,
    workspace: Tensor | None = None,
) -> None:
    """Attention of one query a sequence."""
    counts = lengths(context_lens)
    keys = cached_keys(key_cache, value_cache, block_table, counts, num_kv_heads)
    attend_all(by_head(query, num_heads), [1] * len(counts), keys, scale_value, nothing, out)


@chapter.reference("atb::_npu_paged_attention_mla", source=code_of("atb/PagedAttentionMlaAtb.cpp"))
def paged_attention_mla(
    query: Tensor,
    key_cache: Tensor,
    num_kv_heads: int,
    num_heads: int,
    scale_value: float,
    block_table: Tensor,
    context_lens: Tensor,
    mla_vheadsize: int,
    out: Tensor,
) -> None:
    """Attention whose values are the first part of its keys."""
    values = key_cache[..., :mla_vheadsize]
    paged_attention(
        query,
        key_cache,
        values,
        num_kv_heads,
        num_heads,
        scale_value,
        block_table,
        context_lens,
        out,
    )


@chapter.reference(
    "atb::_npu_paged_attention_v2.out", source=code_of("atb/PagedAttentionAtbV2.cpp")
)
def paged_attention_v2(
    query: Tensor,
    key_cache: Tensor,
    block_table: Tensor,
    context_lens: list[int],
    value_cache: Tensor | None = None,
    mask: Tensor | None = None,
    num_kv_heads: int = 0,
    num_heads: int = 0,
    scale_value: float = 1.0,
    mask_type: int = 0,
    workspace: Tensor | None = None,
    *,
    out: Tensor,
) -> Tensor:
    """Attention of one query a sequence, with a mask [B, N or 1, 1, Skv] added to the scores."""
    if value_cache is None:
        value_cache = key_cache[..., : out.shape[-1]]
    counts = list(context_lens)

    def added(number: int, queries: int, keys: int) -> Tensor | None:
        if mask is None or mask_type == 0:
            return None
        return mask[number].reshape(1, -1, 1, mask.shape[-1])[..., :keys].float()

    keys = cached_keys(key_cache, value_cache, block_table, counts, num_kv_heads or num_heads)
    attend_all(by_head(query, num_heads), [1] * len(counts), keys, scale_value, added, out)
    return out


@chapter.reference(
    "atb::_npu_paged_attention_splitfuse", source=code_of("atb/PagedAttentionSplitfuse.cpp")
)
def paged_attention_splitfuse(
    query: Tensor,
    key_cache: Tensor,
    value_cache: Tensor,
    block_table: Tensor,
    context_lens: Tensor,
    mask: Tensor,
    seq_len: Tensor,
    num_kv_heads: int,
    num_heads: int,
    scale_value: float,
    out: Tensor,
) -> None:
    """Attention of prompts and of single queries together; `mask` has a row for each query."""
    queries = lengths(seq_len)
    starts = [sum(queries[:number]) for number in range(len(queries))]

    def added(number: int, count: int, keys: int) -> Tensor:
        rows = mask.reshape(-1, mask.shape[-1])[starts[number] : starts[number] + count]
        return rows[None, None, :, :keys].float()

    keys = cached_keys(key_cache, value_cache, block_table, lengths(context_lens), num_kv_heads)
    attend_all(by_head(query, num_heads), queries, keys, scale_value, added, out)


@chapter.reference(
    "atb::_npu_paged_attention_splitfuse_v2", source=code_of("atb/PagedAttentionSplitfuseV2.cpp")
)
def paged_attention_splitfuse_v2(
    query: Tensor,
    key_cache: Tensor,
    value_cache: Tensor,
    block_table: Tensor,
    context_lens: Tensor,
    mask: Tensor,
    seq_len: Tensor,
    num_kv_heads: int,
    num_heads: int,
    scale_value: float,
    *,
    mask_type: int | None = NORM_COMPRESS,
    out: Tensor,
) -> None:
    """The same, causal whatever `mask` holds."""
    require(
        mask_type in (None, NORM_COMPRESS),
        f"mask_type only supports MASK_TYPE_NORM_COMPRESS(5), but got: {mask_type}",
    )
    keys = cached_keys(key_cache, value_cache, block_table, lengths(context_lens), num_kv_heads)
    attend_all(by_head(query, num_heads), lengths(seq_len), keys, scale_value, causal, out)


@chapter.reference(
    "atb::_npu_paged_attention_quant", source=code_of("atb/PagedAttentionQuantAtb.cpp")
)
def paged_attention_quant(
    query: Tensor,
    key_cache: Tensor,
    value_cache: Tensor,
    num_kv_heads: int,
    num_heads: int,
    scale_value: float,
    block_table: Tensor,
    context_lens: Tensor,
    quant_type: int,
    outdata_type: int,
    k_descale: Tensor,
    v_descale: Tensor,
    out: Tensor,
) -> None:
    """Attention of int8 to int8, with a scale for each head."""
    if quant_type != ONLINE_INT8:
        raise NotEmulated(f"_npu_paged_attention_quant: quant_type {quant_type} is not emulated")
    keys = cached_keys(key_cache, value_cache, block_table, lengths(context_lens), num_kv_heads)
    rows = by_head(query, num_heads).float() * k_descale.float().view(1, -1, 1)

    def rounded(weights: Tensor) -> Tensor:
        # A row's largest weight is one, before it is divided by their sum.
        return (weights * INT8_LARGEST).round()

    for number, (key, value) in enumerate(keys):
        found = attend_sequence(
            rows[number : number + 1], key, value, Terms(scale=scale_value), rounded
        )
        scaled = found.out[0] * v_descale.float().view(-1, 1) / INT8_LARGEST
        out[number] = scaled.to(out.dtype)


@chapter.reference(
    "atb::_npu_paged_attention_get_workspace", "atb::_npu_paged_attention_v2_get_workspace"
)
def get_workspace(query: Tensor, *values: object, **named: object) -> Tensor:
    """The memory the operator wants beside its tensors: none, on a virtual chip."""
    return torch.empty(0, dtype=torch.uint8)
