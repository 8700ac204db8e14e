"""npu_prompt_flash_attention and npu_incre_flash_attention: prefill and decoding apart."""

import torch
from torch import Tensor

from cordee.emulator.ops.attention.inference import Cache, Inference, Products, infer
from cordee.emulator.ops.attention.layouts import from_bnsd, to_bnsd
from cordee.emulator.ops.attention.masks import EVERY_TOKEN, Sparse
from cordee.emulator.ops.attention.scales import Antiquant, AntiquantMode, quantised
from cordee.emulator.ops.contract import refuse
from cordee.emulator.ops.demands import require
from cordee.emulator.ops.formats import unpack_int4
from cordee.emulator.ops.reference import Chapter
from cordee.emulator.ops.sources import page_of

chapter = Chapter(source=page_of("npu_prompt_flash_attention"))

# sparse_mode 10 to 14 are 0 to 4 in high precision, which the emulator always has.
HIGH_PRECISION = 10


@chapter.reference("npu::npu_prompt_flash_attention")
def prompt_flash_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    padding_mask: Tensor | None = None,
    atten_mask: Tensor | None = None,
    pse_shift: Tensor | None = None,
    actual_seq_lengths: list[int] | None = None,
    deq_scale1: Tensor | None = None,
    quant_scale1: Tensor | None = None,
    deq_scale2: Tensor | None = None,
    quant_scale2: Tensor | None = None,
    quant_offset2: Tensor | None = None,
    num_heads: int = 1,
    scale_value: float = 1.0,
    pre_tokens: int = EVERY_TOKEN,
    next_tokens: int = 0,
    input_layout: str = "BSH",
    num_key_value_heads: int = 0,
    actual_seq_lengths_kv: list[int] | None = None,
    sparse_mode: int = 0,
) -> Tensor:
    """Attention of whole prompts."""
    refuse("npu_prompt_flash_attention", padding_mask=padding_mask)
    layout, out_layout = split_layout(input_layout)
    plan = Inference(
        layout=layout,
        heads=num_heads,
        key_heads=num_key_value_heads or num_heads,
        scale=scale_value,
        mask=atten_mask,
        mode=sparse_mode - HIGH_PRECISION if sparse_mode >= HIGH_PRECISION else sparse_mode,
        pre_tokens=pre_tokens,
        next_tokens=next_tokens,
        pse=pse_shift,
        query_lengths=tuple(actual_seq_lengths or ()),
        key_lengths=tuple(actual_seq_lengths_kv or ()),
        products=products(query, deq_scale1, quant_scale1, deq_scale2),
    )
    found = infer(plan, to_bnsd(query, layout, num_heads), Cache(key), Cache(value))
    dtype = out_dtype(query, None)
    return finished(found.out, out_layout, dtype, quant_scale2, quant_offset2)


@chapter.reference("npu::npu_incre_flash_attention", source=page_of("npu_incre_flash_attention"))
def incre_flash_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    padding_mask: Tensor | None = None,
    atten_mask: Tensor | None = None,
    pse_shift: Tensor | None = None,
    actual_seq_lengths: list[int] | None = None,
    antiquant_scale: Tensor | None = None,
    antiquant_offset: Tensor | None = None,
    block_table: Tensor | None = None,
    dequant_scale1: Tensor | None = None,
    quant_scale1: Tensor | None = None,
    dequant_scale2: Tensor | None = None,
    quant_scale2: Tensor | None = None,
    quant_offset2: Tensor | None = None,
    kv_padding_size: Tensor | None = None,
    num_heads: int = 1,
    scale_value: float = 1.0,
    input_layout: str = "BSH",
    num_key_value_heads: int = 0,
    block_size: int = 0,
    inner_precise: int = 1,
) -> Tensor:
    """Attention of one new token a sequence to its cache."""
    refuse("npu_incre_flash_attention", padding_mask=padding_mask)
    require(query.dtype != torch.int8, "npu_incre_flash_attention takes no query of int8")
    plan = Inference(
        layout=input_layout,
        heads=num_heads,
        key_heads=num_key_value_heads or num_heads,
        scale=scale_value,
        mask=atten_mask,
        mode=Sparse.ALL,
        pre_tokens=EVERY_TOKEN,
        next_tokens=EVERY_TOKEN,
        pse=pse_shift,
        key_lengths=tuple(actual_seq_lengths or ()),
        key_padding=padding(kv_padding_size),
        block_table=block_table,
        block_size=block_size,
        products=products(query, dequant_scale1, quant_scale1, dequant_scale2),
        decodes=True,
    )
    scales = halves(antiquant_scale), halves(antiquant_offset)
    key_cache, value_cache = (
        cache(tensor, scales[0][half], scales[1][half], AntiquantMode.CHANNEL_OR_TENSOR)
        for half, tensor in enumerate((key, value))
    )
    found = infer(plan, to_bnsd(query, input_layout, num_heads), key_cache, value_cache)
    return finished(found.out, input_layout, query.dtype, quant_scale2, quant_offset2)


def split_layout(name: str) -> tuple[str, str]:
    """Layouts of input and output: "BNSD_BSND" has both."""
    layout, _, out_layout = name.partition("_")
    return layout, out_layout or layout


def cache(tensor: Tensor, scale: Tensor | None, offset: Tensor | None, mode: int) -> Cache:
    """Keys or values, with the scales that make numbers of them."""
    antiquant = None if scale is None else Antiquant(scale, offset, mode)
    return Cache(opened(tensor), antiquant)


def opened(tensor: Tensor) -> Tensor:
    """`tensor`, its numbers taken apart where eight of them share an int32."""
    return unpack_int4(tensor) if tensor.dtype == torch.int32 else tensor


def halves(factor: Tensor | None) -> tuple[Tensor | None, Tensor | None]:
    """What keys and values have of a factor that is given for both."""
    return (None, None) if factor is None else (factor[0], factor[1])


def products(
    query: Tensor, scores: Tensor | None, weights: Tensor | None, out: Tensor | None
) -> Products | None:
    """The scales of attention in integers, which all must be there for a query of int8."""
    if query.dtype != torch.int8:
        require(
            scores is None and weights is None and out is None,
            "scales of integer products are for a query of int8 only",
        )
        return None
    require(
        scores is not None and weights is not None and out is not None,
        "a query of int8 needs the scales dequant 1, quant 1 and dequant 2",
    )
    assert scores is not None
    assert weights is not None
    assert out is not None
    return Products(scores=scores, weights=weights, out=out)


def padding(size: Tensor | None) -> int | None:
    """Tokens after the last one in use, where sequences end together."""
    return None if size is None else int(size.flatten()[0])


def out_dtype(query: Tensor, query_rope: Tensor | None) -> torch.dtype:
    """The dtype of an output that is not quantised."""
    if query.dtype != torch.int8:
        return query.dtype
    return torch.float16 if query_rope is None else query_rope.dtype


def finished(
    out: Tensor, layout: str, dtype: torch.dtype, scale: Tensor | None, offset: Tensor | None
) -> Tensor:
    """The operator's output of `out` [B, N, S, D] in float32."""
    out = out.to(dtype) if scale is None else quantised(out, scale, offset)
    return from_bnsd(out, layout)
