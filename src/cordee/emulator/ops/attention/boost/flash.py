"""ATB's self-attention of prompts: sequences in a row, or after a prefix that is cached."""

from typing import Any

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
from cordee.emulator.ops.demands import require
from cordee.emulator.ops.reference import Chapter
from cordee.emulator.ops.sources import code_of

chapter = Chapter(source=code_of("atb/SelfAttentionAtb.cpp"))

KERNEL_TYPES = (0, 2)  # default, and exponentials by a faster formula
PREFIX_MASKS = {
    "mask_type_causal_mask": MaskType.NORM_COMPRESS,
    "mask_type_norm_compress": MaskType.NORM_COMPRESS,
    "mask_type_alibi_compress": MaskType.ALIBI_COMPRESS,
    "mask_type_alibi_compress_sort": MaskType.ALIBI_COMPRESS_SQRT,  # the adapter's spelling
}


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


@chapter.reference(
    "atb::_npu_flash_attention_unpad", source=code_of("atb/SelfAttentionUnpadAtb.cpp")
)
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


@chapter.reference(
    "atb::_npu_flash_attention_unpad_v2", source=code_of("atb/SelfAttentionUnpadAtbV2.cpp")
)
def flash_attention_unpad_v2(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    seq_len: Tensor,
    scale_value: float,
    num_heads: int,
    num_kv_heads: int,
    *,
    kernel_type: int | None = 0,
    out: Tensor,
) -> None:
    """The same; `kernel_type` names how the chip takes exponentials."""
    require(
        kernel_type in (None, *KERNEL_TYPES),
        "kernel_type only supports KERNELTYPE_DEFAULT(0) and KERNELTYPE_EXP_M8V2(2), "
        f"but got: {kernel_type}",
    )
    flash_attention_unpad(query, key, value, seq_len, scale_value, num_heads, num_kv_heads, out)


@chapter.reference("atb::_npu_flash_attention_v2.out", source=code_of("atb/SelfAttentionAtbV2.cpp"))
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


@chapter.reference("atb::_npu_flash_attention_v3", source=code_of("atb/SelfAttentionAtbV3.cpp"))
def flash_attention_v3(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor,
    seq_len: Tensor,
    scale_value: float,
    num_heads: int,
    num_kv_heads: int,
    *,
    mask_type: int | None = MaskType.NORM_COMPRESS,
    out: Tensor,
) -> None:
    """Causal attention of each prompt to itself."""
    require(
        mask_type in (None, MaskType.NORM_COMPRESS),
        f"mask_type only supports MASK_TYPE_NORM_COMPRESS, but got: {mask_type}",
    )
    heads = (num_heads, num_kv_heads)
    _attend(query, key, value, lengths(seq_len), scale_value, heads, causal, out)


@chapter.reference(
    "atb::_npu_flash_attention_qlens", source=code_of("atb/SelfAttentionQlensAtb.cpp")
)
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
    "atb::_npu_flash_attention_prefix_v2.out", source=code_of("atb/SelfAttentionPrefixAtbV2.cpp")
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


@chapter.reference(
    "atb::npu_self_attention_prefix_encoder",
    source=code_of("atb/SelfAttentionPrefixEncoderAtb.cpp"),
)
def prefix_encoder(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    block_tables: Tensor,
    seqlen: list[int],
    kv_seqlen: list[int],
    q_headnum: int,
    qk_scale: float,
    kv_headnum: int,
    *,
    mask: Tensor | None = None,
    slopes: Tensor | None = None,
    mask_type: str | None = None,
) -> Tensor:
    """The same by other names, into a fresh tensor like `query`."""
    require(
        mask_type in (None, *PREFIX_MASKS),
        f"mask_type must be one of {', '.join(PREFIX_MASKS)}, but got {mask_type}",
    )
    kind = PREFIX_MASKS[mask_type or "mask_type_causal_mask"]
    added: Added = causal
    if kind != MaskType.NORM_COMPRESS:
        added = added_by("npu_self_attention_prefix_encoder", mask, kind, slopes)
    keys = cached_keys(key, value, block_tables, list(kv_seqlen), kv_headnum or q_headnum)
    out = torch.zeros_like(query)
    attend_all(by_head(query, q_headnum), list(seqlen), keys, qk_scale, added, out)
    return out


@chapter.reference(
    "atb::npu_self_attention_prefix_encoder.out",
    source=code_of("atb/SelfAttentionPrefixEncoderAtb.cpp"),
)
def prefix_encoder_out(*values: Any, output: Tensor, **named: Any) -> Tensor:
    """The same, written into `output`."""
    return output.copy_(prefix_encoder(*values, **named))


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
