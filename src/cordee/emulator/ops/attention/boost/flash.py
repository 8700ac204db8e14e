"""ATB's self-attention of prompts: sequences in a row, or after a prefix that is cached."""

import torch
from torch import Tensor

from cordee.emulator.ops.attention.boost.masks import MaskType, added_by, causal, given_mask
from cordee.emulator.ops.attention.boost.sequences import (
    Added,
    attend_all,
    by_head,
    cached_keys,
    lengths,
    nothing,
    packed_keys,
)
from cordee.emulator.ops.reference import Chapter

SOURCES = "github.com/Ascend/op-plugin op_plugin/ops/atb"
chapter = Chapter(source=f"{SOURCES}/SelfAttentionAtb.cpp")


@chapter.reference("atb::_npu_flash_attention")
def flash_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor,
    seq_len: Tensor,
    scale_value: float,
    num_heads: int,
    num_kv_heads: int,
    out: Tensor,
) -> None:
    """Attention of each prompt to itself, with a mask that all share."""
    added = given_mask(mask, MaskType.NORM)
    _attend(query, key, value, lengths(seq_len), scale_value, (num_heads, num_kv_heads), added, out)


@chapter.reference("atb::_npu_flash_attention_unpad", source=f"{SOURCES}/SelfAttentionUnpadAtb.cpp")
def flash_attention_unpad(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    seq_len: Tensor,
    scale_value: float,
    num_heads: int,
    num_kv_heads: int,
    out: Tensor,
) -> None:
    """Attention of each prompt to all of itself."""
    heads = (num_heads, num_kv_heads)
    _attend(query, key, value, lengths(seq_len), scale_value, heads, nothing, out)


@chapter.reference("atb::_npu_flash_attention_v2.out", source=f"{SOURCES}/SelfAttentionAtbV2.cpp")
def flash_attention_v2(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    seq_len: list[int],
    mask: Tensor | None = None,
    slopes: Tensor | None = None,
    kernel_type: int = 0,
    mask_type: int = MaskType.ALIBI,
    scale_value: float = 1,
    num_heads: int = 0,
    num_kv_heads: int = 0,
    *,
    out: Tensor,
) -> Tensor:
    """Attention of each prompt to itself, with a mask of many types."""
    added = added_by("_npu_flash_attention_v2", mask, mask_type, slopes)
    heads = (num_heads, num_kv_heads or num_heads)
    _attend(query, key, value, list(seq_len), scale_value, heads, added, out)
    return out


@chapter.reference("atb::_npu_flash_attention_qlens", source=f"{SOURCES}/SelfAttentionQlensAtb.cpp")
def flash_attention_qlens(
    query: Tensor,
    key_cache: Tensor,
    value_cache: Tensor,
    block_table: Tensor,
    mask: Tensor,
    seq_len: Tensor,
    context_lens: Tensor,
    num_kv_heads: int,
    num_heads: int,
    scale_value: float,
    out: Tensor,
) -> None:
    """Causal attention of `seq_len` queries to the `context_lens` tokens they are the end of."""
    keys = cached_keys(key_cache, value_cache, block_table, lengths(context_lens), num_kv_heads)
    attend_all(by_head(query, num_heads), lengths(seq_len), keys, scale_value, causal, out)


@chapter.reference(
    "atb::_npu_flash_attention_prefix_v2.out", source=f"{SOURCES}/SelfAttentionPrefixAtbV2.cpp"
)
def flash_attention_prefix_v2(
    query: Tensor,
    key_cache: Tensor,
    value_cache: Tensor,
    block_table: Tensor,
    mask: Tensor,
    seq_len: list[int],
    context_lens: list[int],
    slopes: Tensor | None = None,
    kernel_type: int = 1,
    mask_type: int = MaskType.NORM_COMPRESS,
    num_kv_heads: int = 0,
    num_heads: int = 0,
    scale_value: float = 1,
    *,
    out: Tensor,
) -> Tensor:
    """The same, causal or with ALiBi."""
    added = added_by("_npu_flash_attention_prefix_v2", mask, mask_type, slopes)
    heads = num_kv_heads or num_heads
    keys = cached_keys(key_cache, value_cache, block_table, list(context_lens), heads)
    attend_all(by_head(query, num_heads), list(seq_len), keys, scale_value, added, out)
    return out


def _attend(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    counts: list[int],
    scale: float,
    heads: tuple[int, int],
    added: Added,
    out: Tensor,
) -> None:
    # The adapter also takes keys that leave room after each sequence: [..., B, longest, N * D].
    if key.dim() == 4 and key.shape[-1] % heads[1] == 0 and key.shape[-2] != heads[1]:
        key, value = (_closed_up(side[-1], counts) for side in (key, value))
    keys = packed_keys(key, value, counts, heads[1])
    attend_all(by_head(query, heads[0]), counts, keys, scale, added, out)


def _closed_up(side: Tensor, counts: list[int]) -> Tensor:
    return torch.cat([row[:count] for row, count in zip(side, counts, strict=True)])
