"""npu_fused_infer_attention_score: prefill and decoding in one operator."""

from dataclasses import dataclass

import torch
from torch import Tensor

from cordee.core.errors import NotEmulated
from cordee.emulator.ops.attention.inference import Cache, Inference, infer
from cordee.emulator.ops.attention.inference_operators import (
    cache,
    finished,
    halves,
    opened,
    out_dtype,
    padding,
    products,
    split_layout,
)
from cordee.emulator.ops.attention.layouts import PACKED, to_bnsd
from cordee.emulator.ops.attention.masks import EVERY_TOKEN
from cordee.emulator.ops.contract import refuse
from cordee.emulator.ops.reference import Chapter
from cordee.emulator.ops.sources import page_of

chapter = Chapter(source=page_of("npu_fused_infer_attention_score"))


@dataclass(frozen=True, slots=True)
class Arguments:
    """The arguments of npu_fused_infer_attention_score, as its schema has them."""

    query: Tensor
    key: Tensor
    value: Tensor
    pse_shift: Tensor | None = None
    atten_mask: Tensor | None = None
    actual_seq_lengths: list[int] | None = None
    actual_seq_lengths_kv: list[int] | None = None
    dequant_scale1: Tensor | None = None
    quant_scale1: Tensor | None = None
    dequant_scale2: Tensor | None = None
    quant_scale2: Tensor | None = None
    quant_offset2: Tensor | None = None
    antiquant_scale: Tensor | None = None
    antiquant_offset: Tensor | None = None
    key_antiquant_scale: Tensor | None = None
    key_antiquant_offset: Tensor | None = None
    value_antiquant_scale: Tensor | None = None
    value_antiquant_offset: Tensor | None = None
    block_table: Tensor | None = None
    query_padding_size: Tensor | None = None
    kv_padding_size: Tensor | None = None
    key_shared_prefix: Tensor | None = None
    value_shared_prefix: Tensor | None = None
    actual_shared_prefix_len: list[int] | None = None
    query_rope: Tensor | None = None
    key_rope: Tensor | None = None
    key_rope_antiquant_scale: Tensor | None = None
    num_heads: int = 1
    scale: float = 1.0
    pre_tokens: int = EVERY_TOKEN
    next_tokens: int = EVERY_TOKEN
    input_layout: str = "BSH"
    num_key_value_heads: int = 0
    sparse_mode: int = 0
    inner_precise: int = 0
    block_size: int = 0
    antiquant_mode: int = 0
    key_antiquant_mode: int = 0
    value_antiquant_mode: int = 0
    softmax_lse_flag: bool = False


@chapter.reference("npu::npu_fused_infer_attention_score")
def fused_infer_attention_score(*values: object, **named: object) -> tuple[Tensor, Tensor]:
    """Attention, and the logarithm of each row's sum where `softmax_lse_flag` asks for it."""
    given = Arguments(*values, **named)  # type: ignore[arg-type]
    layout, out_layout = split_layout(given.input_layout)
    query = joined(given.query, given.query_rope, layout, given.num_heads)
    lengths = tuple(given.actual_seq_lengths or ())
    plan = Inference(
        layout=layout,
        heads=given.num_heads,
        key_heads=given.num_key_value_heads or given.num_heads,
        scale=given.scale,
        mask=given.atten_mask,
        mode=given.sparse_mode,
        pre_tokens=given.pre_tokens,
        next_tokens=given.next_tokens,
        pse=given.pse_shift,
        query_lengths=() if decodes(query, layout) else lengths,
        key_lengths=tuple(given.actual_seq_lengths_kv or ()),
        query_padding=padding(given.query_padding_size) if lengths else None,
        key_padding=padding(given.kv_padding_size) if given.actual_seq_lengths_kv else None,
        block_table=given.block_table,
        block_size=given.block_size,
        shared_length=first(given.actual_shared_prefix_len),
        products=products(query, given.dequant_scale1, given.quant_scale1, given.dequant_scale2),
        decodes=decodes(query, layout) and given.query_rope is None,
    )
    found = infer(plan, query, *_caches(given))
    dtype = out_dtype(given.query, given.query_rope)
    out = finished(found.out, out_layout, dtype, given.quant_scale2, given.quant_offset2)
    return out, row_lse(found.lse, layout) if given.softmax_lse_flag else torch.empty(0)


@chapter.reference("npu::npu_fused_infer_attention_score.out")
def fused_infer_attention_score_out(
    *values: object, workspace: Tensor | None = None, out: list[Tensor], **named: object
) -> tuple[Tensor, Tensor]:
    """The same, written into `out`: attention and logarithms."""
    return written(out, fused_infer_attention_score(*values, **named))


@chapter.reference("npu::_npu_fused_infer_attention_score_get_max_workspace")
def get_max_workspace(*values: object, **named: object) -> Tensor:
    """The memory the operator wants beside its tensors: none, on a virtual chip."""
    query = values[0] if values else named["query"]
    assert isinstance(query, Tensor)
    return query.new_empty(0)


@chapter.reference("npu::_npu_fused_infer_attention_score_infer_output")
def infer_output(
    query: Tensor,
    value: Tensor,
    input_layout: str = "BSH",
    quant_scale2: Tensor | None = None,
    block_table: Tensor | None = None,
    num_heads: int = 1,
    num_key_value_heads: int = 0,
    softmax_lse_flag: bool = False,
    query_rope: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Memory for what the operator will give."""
    layout, out_layout = split_layout(input_layout)
    size = value_size(value, layout, block_table, num_key_value_heads or num_heads)
    rows = to_bnsd(query, layout, num_heads)[..., :1].expand(-1, -1, -1, size).float()
    dtype = out_dtype(query, query_rope) if quant_scale2 is None else torch.int8
    out = finished(torch.zeros_like(rows), out_layout, dtype, None, None)
    lse = row_lse(torch.zeros(*rows.shape[:3], 1), layout) if softmax_lse_flag else torch.empty(0)
    return out, lse


def joined(query: Tensor, rope: Tensor | None, layout: str, heads: int) -> Tensor:
    """`query` as [B, N, S, D], its rotary part joined to each head."""
    query = to_bnsd(query, layout, heads)
    return query if rope is None else torch.cat([query, to_bnsd(rope, layout, heads)], dim=-1)


def decodes(query: Tensor, layout: str) -> bool:
    """Whether every sequence has one query [B, N, 1, D]."""
    return query.shape[2] == 1 and layout not in PACKED


def row_lse(lse: Tensor, layout: str) -> Tensor:
    """`lse` [B, N, S, 1] as the operator gives it: [T, N, 1] where sequences lie in a row."""
    return lse[0].transpose(0, 1).contiguous() if layout in PACKED else lse.contiguous()


def first(lengths: list[int] | None) -> int | None:
    """The one length of a list, if there is any."""
    return lengths[0] if lengths else None


def written(out: list[Tensor], found: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """`out` with `found` in it."""
    for target, result in zip(out, found, strict=True):
        if result.numel() or target.numel() == 0:
            target.copy_(result)
    return out[0], out[1]


def value_size(value: Tensor, layout: str, block_table: Tensor | None, heads: int) -> int:
    """The size of a head of `value`."""
    packed = 8 if value.dtype == torch.int32 else 1  # int4 in int32
    if block_table is not None and value.dim() == 5:
        return value.shape[2] * value.shape[4] * packed
    split = (block_table is not None and value.dim() == 3) or (
        block_table is None and layout == "BSH"
    )
    return value.shape[-1] // (heads if split else 1) * packed


def _caches(given: Arguments) -> tuple[Cache, Cache]:
    scales = halves(given.antiquant_scale), halves(given.antiquant_offset)
    key_mode, value_mode = given.key_antiquant_mode, given.value_antiquant_mode
    if given.key_antiquant_scale is not None:
        scales = (
            (given.key_antiquant_scale, given.value_antiquant_scale),
            (given.key_antiquant_offset, given.value_antiquant_offset),
        )
    else:
        key_mode = value_mode = given.antiquant_mode
    key = cache(given.key, scales[0][0], scales[1][0], key_mode)
    value = cache(given.value, scales[0][1], scales[1][1], value_mode)
    refuse(
        "npu_fused_infer_attention_score", key_rope_antiquant_scale=given.key_rope_antiquant_scale
    )
    if given.key_shared_prefix is not None and given.key_rope is not None:
        raise NotEmulated("npu_fused_infer_attention_score: `key_shared_prefix` with `key_rope`")
    prefix = given.key_shared_prefix, given.value_shared_prefix
    shared = [None if tensor is None else opened(tensor) for tensor in prefix]
    return key._replace(rope=given.key_rope, shared=shared[0]), value._replace(shared=shared[1])
