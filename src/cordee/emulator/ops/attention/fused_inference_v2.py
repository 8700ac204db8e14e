"""npu_fused_infer_attention_score_v2: scales named by what they belong to, and a learnable sink."""

from dataclasses import dataclass

import torch
from torch import Tensor

from cordee.emulator.ops.attention.fused_inference import (
    decodes,
    get_max_workspace,
    infer_output,
    joined,
    row_lse,
    written,
)
from cordee.emulator.ops.attention.inference import Cache, Inference, infer
from cordee.emulator.ops.attention.inference_operators import (
    cache,
    finished,
    out_dtype,
    split_layout,
)
from cordee.emulator.ops.attention.layouts import to_bnsd
from cordee.emulator.ops.attention.masks import EVERY_TOKEN
from cordee.emulator.ops.contract import refuse
from cordee.emulator.ops.reference import Chapter
from cordee.emulator.ops.sources import page_of

chapter = Chapter(source=page_of("npu_fused_infer_attention_score_v2"))

OPERATOR = "npu_fused_infer_attention_score_v2"


@dataclass(frozen=True, slots=True)
class Arguments:
    """The arguments of npu_fused_infer_attention_score_v2, as its schema has them."""

    query: Tensor
    key: Tensor
    value: Tensor
    query_rope: Tensor | None = None
    key_rope: Tensor | None = None
    pse_shift: Tensor | None = None
    atten_mask: Tensor | None = None
    actual_seq_qlen: list[int] | None = None
    actual_seq_kvlen: list[int] | None = None
    block_table: Tensor | None = None
    dequant_scale_query: Tensor | None = None
    dequant_scale_key: Tensor | None = None
    dequant_offset_key: Tensor | None = None
    dequant_scale_value: Tensor | None = None
    dequant_offset_value: Tensor | None = None
    dequant_scale_key_rope: Tensor | None = None
    quant_scale_out: Tensor | None = None
    quant_offset_out: Tensor | None = None
    quant_scale_p: Tensor | None = None
    learnable_sink: Tensor | None = None
    num_query_heads: int = 1
    num_key_value_heads: int = 0
    softmax_scale: float = 1.0
    pre_tokens: int = EVERY_TOKEN
    next_tokens: int = EVERY_TOKEN
    input_layout: str = "BSH"
    sparse_mode: int = 0
    block_size: int = 0
    query_quant_mode: int = 0
    key_quant_mode: int = 0
    value_quant_mode: int = 0
    inner_precise: int = 0
    return_softmax_lse: bool = False
    query_dtype: int | None = None
    key_dtype: int | None = None
    value_dtype: int | None = None
    query_rope_dtype: int | None = None
    key_rope_dtype: int | None = None
    key_shared_prefix_dtype: int | None = None
    value_shared_prefix_dtype: int | None = None
    dequant_scale_query_dtype: int | None = None
    dequant_scale_key_dtype: int | None = None
    dequant_scale_value_dtype: int | None = None
    dequant_scale_key_rope_dtype: int | None = None
    out_dtype: int | None = None

    def __post_init__(self) -> None:
        refuse(
            OPERATOR,
            dequant_scale_key_rope=self.dequant_scale_key_rope,
            quant_scale_p=self.quant_scale_p,
            query_dtype=self.query_dtype,
            key_dtype=self.key_dtype,
            value_dtype=self.value_dtype,
            out_dtype=self.out_dtype,
        )


@chapter.reference("npu::npu_fused_infer_attention_score_v2")
def fused_infer_attention_score_v2(*values: object, **named: object) -> tuple[Tensor, Tensor]:
    """Attention, and the logarithm of each row's sum where `return_softmax_lse` asks for it."""
    given = Arguments(*values, **named)  # type: ignore[arg-type]
    layout, out_layout = split_layout(given.input_layout)
    heads = given.num_query_heads
    query = joined(_numbers(given, layout), given.query_rope, layout, heads)
    plan = Inference(
        layout=layout,
        heads=heads,
        key_heads=given.num_key_value_heads or heads,
        scale=given.softmax_scale,
        mask=given.atten_mask,
        mode=given.sparse_mode,
        pre_tokens=given.pre_tokens,
        next_tokens=given.next_tokens,
        pse=given.pse_shift,
        query_lengths=() if decodes(query, layout) else tuple(given.actual_seq_qlen or ()),
        key_lengths=tuple(given.actual_seq_kvlen or ()),
        block_table=given.block_table,
        block_size=given.block_size,
        sink=given.learnable_sink,
        decodes=decodes(query, layout) and given.query_rope is None,
    )
    found = infer(plan, query, *_caches(given))
    dtype = out_dtype(given.query, given.query_rope)
    out = finished(found.out, out_layout, dtype, given.quant_scale_out, given.quant_offset_out)
    return out, row_lse(found.lse, layout) if given.return_softmax_lse else torch.empty(0)


@chapter.reference("npu::npu_fused_infer_attention_score_v2.out")
def fused_infer_attention_score_v2_out(
    *values: object, workspace: Tensor | None = None, out: list[Tensor], **named: object
) -> tuple[Tensor, Tensor]:
    """The same, written into `out`: attention and logarithms."""
    return written(out, fused_infer_attention_score_v2(*values, **named))


chapter.reference("npu::_npu_fused_infer_attention_score_v2_get_max_workspace")(get_max_workspace)


@chapter.reference("npu::_npu_fused_infer_attention_score_v2_infer_output")
def infer_output_v2(
    query: Tensor,
    value: Tensor,
    query_dtype: int | None = None,
    value_dtype: int | None = None,
    input_layout: str = "BSH",
    quant_scale_out: Tensor | None = None,
    block_table: Tensor | None = None,
    num_query_heads: int = 1,
    num_key_value_heads: int = 0,
    return_softmax_lse: bool = False,
    query_rope: Tensor | None = None,
    out_dtype: int | None = None,
) -> tuple[Tensor, Tensor]:
    """Memory for what the operator will give."""
    refuse(OPERATOR, query_dtype=query_dtype, value_dtype=value_dtype, out_dtype=out_dtype)
    memory: tuple[Tensor, Tensor] = infer_output(
        query,
        value,
        input_layout,
        quant_scale_out,
        block_table,
        num_query_heads,
        num_key_value_heads,
        return_softmax_lse,
        query_rope,
    )
    return memory


def _numbers(given: Arguments, layout: str) -> Tensor:
    """The query, made numbers of where it is int8: one scale for each token and head."""
    scale = given.dequant_scale_query
    if scale is None:
        return given.query
    # The chip also rounds the softmax to int8, in ways that are not documented.
    query = given.query.float()
    if not layout.endswith("H"):
        return query * scale.float().reshape(*query.shape[:-1], 1)
    split = to_bnsd(query, layout, given.num_query_heads).transpose(1, 2)
    return (split * scale.float().reshape(*split.shape[:-1], 1)).flatten(-2)


def _caches(given: Arguments) -> tuple[Cache, Cache]:
    key = cache(given.key, given.dequant_scale_key, given.dequant_offset_key, given.key_quant_mode)
    value = cache(
        given.value, given.dequant_scale_value, given.dequant_offset_value, given.value_quant_mode
    )
    return key._replace(rope=given.key_rope), value
