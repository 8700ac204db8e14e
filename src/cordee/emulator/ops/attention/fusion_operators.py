"""npu_fusion_attention and its later versions, forward."""

from dataclasses import replace

import torch
from torch import Tensor

from cordee.emulator.ops.attention import dropout
from cordee.emulator.ops.attention.fusion import Fusion, forward, stored, views, weights_count
from cordee.emulator.ops.attention.layouts import from_bnsd
from cordee.emulator.ops.attention.masks import EVERY_TOKEN, Visibility
from cordee.emulator.ops.attention.position import PseType
from cordee.emulator.ops.contract import refuse
from cordee.emulator.ops.demands import require
from cordee.emulator.ops.reference import Chapter

DOCUMENTS = "gitcode.com/Ascend/op-plugin docs/zh/custom_APIs/torch_npu"
chapter = Chapter(source=f"{DOCUMENTS}/torch_npu-npu_fusion_attention.md")

# Attention, maximum, sum, an output the operator reserves, and where dropout's numbers came from.
Attention = tuple[Tensor, Tensor, Tensor, Tensor, int, int, int]


@chapter.reference("npu::npu_fusion_attention", seeded=False)
def fusion_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    head_num: int,
    input_layout: str,
    pse: Tensor | None = None,
    padding_mask: Tensor | None = None,
    atten_mask: Tensor | None = None,
    scale: float = 1.0,
    keep_prob: float = 1.0,
    pre_tockens: int = EVERY_TOKEN,
    next_tockens: int = EVERY_TOKEN,
    inner_precise: int = 0,
    prefix: list[int] | None = None,
    actual_seq_qlen: list[int] | None = None,
    actual_seq_kvlen: list[int] | None = None,
    sparse_mode: int = 0,
    gen_mask_parallel: bool = True,
    sync: bool = False,
    softmax_layout: str = "",
    sink: Tensor | None = None,
    dropout_mask: Tensor | None = None,
    seed: int = 0,
    offset: int = 0,
) -> Attention:
    """Attention of `query` to `key` and `value`, and what its backward needs."""
    refuse("npu_fusion_attention", padding_mask=padding_mask)
    fusion = Fusion(
        heads=head_num,
        layout=input_layout.upper(),
        scale=scale,
        visibility=visibility(atten_mask, sparse_mode, pre_tockens, next_tockens, prefix),
        pse=pse,
        query_ends=tuple(actual_seq_qlen or ()),
        key_ends=tuple(actual_seq_kvlen or ()),
        softmax_layout=softmax_layout,
        sink=sink,
        keep_prob=keep_prob,
    )
    return attention(fusion, query, key, value, dropout_mask, seed, offset)


@chapter.reference("npu::npu_fusion_attention_v2", seeded=False)
def fusion_attention_v2(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    head_num: int,
    input_layout: str,
    pse: Tensor | None = None,
    padding_mask: Tensor | None = None,
    atten_mask: Tensor | None = None,
    query_rope: Tensor | None = None,
    key_rope: Tensor | None = None,
    scale: float = 1.0,
    keep_prob: float = 1.0,
    pre_tokens: int = EVERY_TOKEN,
    next_tokens: int = EVERY_TOKEN,
    inner_precise: int = 0,
    prefix: list[int] | None = None,
    actual_seq_qlen: list[int] | None = None,
    actual_seq_kvlen: list[int] | None = None,
    sparse_mode: int = 0,
    gen_mask_parallel: bool = True,
    sync: bool = False,
    pse_type: int = PseType.SCALED_TOGETHER,
    q_start_idx: list[int] | None = None,
    kv_start_idx: list[int] | None = None,
    softmax_layout: str = "",
    sink: Tensor | None = None,
    dropout_mask: Tensor | None = None,
    seed: int = 0,
    offset: int = 0,
) -> Attention:
    """npu_fusion_attention with ALiBi made inside and rotary parts given apart."""
    refuse("npu_fusion_attention_v2", padding_mask=padding_mask)
    fusion = Fusion(
        heads=head_num,
        layout=input_layout.upper(),
        scale=scale,
        visibility=visibility(atten_mask, sparse_mode, pre_tokens, next_tokens, prefix),
        pse=pse,
        pse_type=pse_type,
        query_start=first(q_start_idx),
        key_start=first(kv_start_idx),
        query_ends=tuple(actual_seq_qlen or ()),
        key_ends=tuple(actual_seq_kvlen or ()),
        softmax_layout=softmax_layout,
        sink=sink,
        keep_prob=keep_prob,
    )
    query, key = joined(fusion, query, query_rope), joined(fusion, key, key_rope)
    return attention(fusion, query, key, value, dropout_mask, seed, offset)


@chapter.reference(
    "npu::npu_fusion_attention_v3",
    source=f"{DOCUMENTS}/torch_npu-npu_fusion_attention_v3.md",
    seeded=False,
)
def fusion_attention_v3(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    head_num: int,
    input_layout: str,
    pse: Tensor | None = None,
    padding_mask: Tensor | None = None,
    atten_mask: Tensor | None = None,
    scale: float = 1.0,
    keep_prob: float = 1.0,
    pre_tockens: int = EVERY_TOKEN,
    next_tockens: int = EVERY_TOKEN,
    inner_precise: int = 0,
    prefix: list[int] | None = None,
    actual_seq_qlen: Tensor | None = None,
    actual_seq_kvlen: Tensor | None = None,
    sparse_mode: int = 0,
    gen_mask_parallel: bool = True,
    sync: bool = False,
    softmax_layout: str = "",
    sink: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """npu_fusion_attention with lengths, seed and offset as tensors."""
    refuse("npu_fusion_attention_v3", padding_mask=padding_mask)
    fusion = Fusion(
        heads=head_num,
        layout=input_layout.upper(),
        scale=scale,
        visibility=visibility(atten_mask, sparse_mode, pre_tockens, next_tockens, prefix),
        pse=pse,
        query_ends=ends(actual_seq_qlen),
        key_ends=ends(actual_seq_kvlen),
        softmax_layout=softmax_layout,
        sink=sink,
        keep_prob=keep_prob,
    )
    *found, seed, offset, _ = attention(fusion, query, key, value, None, 0, 0)
    out, maximum, total, reserved = found
    return out, maximum, total, reserved, torch.tensor([seed]), torch.tensor([offset])


def attention(
    fusion: Fusion,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    dropout_mask: Tensor | None,
    seed: int,
    offset: int,
) -> Attention:
    """What every version gives; `dropout_mask` replaces the one made from the generator."""
    of = views(fusion, query, key, value)
    count = weights_count(fusion, of)
    if fusion.keep_prob < 1:
        if dropout_mask is None:
            # The adapter overwrites seed and offset that it is given, whatever the page says.
            seed, offset = dropout.draw()
            dropout_mask = dropout.generated_bits(query, fusion.keep_prob, seed, offset, count)
        fusion = replace(fusion, bits=dropout_mask)
    found = forward(fusion, of)
    return (
        from_bnsd(found.out, fusion.layout).to(query.dtype),
        stored(fusion, found.maximum),
        stored(fusion, found.total),
        query.new_empty(0),
        seed,
        offset,
        count,
    )


def visibility(
    mask: Tensor | None, mode: int, before: int, after: int, prefix: list[int] | None
) -> Visibility:
    """Which keys the operator's arguments let a query see."""
    return Visibility(mask, mode, before, after, tuple(prefix or ()))


def ends(lengths: Tensor | None) -> tuple[int, ...]:
    """Where each sequence ends, given as a tensor."""
    return () if lengths is None else tuple(lengths.tolist())


def first(starts: list[int] | None) -> int:
    """The position that ALiBi counts from."""
    return starts[0] if starts else 0


def joined(fusion: Fusion, tensor: Tensor, rope: Tensor | None) -> Tensor:
    """`tensor` with its rotary part joined to each head, which adds their dot products up."""
    if rope is None:
        return tensor
    require(fusion.packed, "the size of actual_seq_qlen and actual_seq_kvlen cannot be empty.")
    return torch.cat([tensor, rope], dim=-1)
