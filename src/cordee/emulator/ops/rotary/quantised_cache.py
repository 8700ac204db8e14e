"""Rotary embeddings whose keys and values go, quantised, into a cache."""

from collections.abc import Sequence

import torch
from torch import Tensor

from cordee.core.errors import NotEmulated
from cordee.emulator.ops.demands import require
from cordee.emulator.ops.formats import format_named
from cordee.emulator.ops.quantisation.biases import dequantised
from cordee.emulator.ops.reference import Chapter
from cordee.emulator.ops.rotary.rotation import embedded
from cordee.emulator.ops.sources import code_of

chapter = Chapter(source=code_of("opapi/RopeQuantKVCacheKernelNpuOpApi.cpp"))


@chapter.reference("npu::npu_rope_quant_kvcache")
def npu_rope_quant_kvcache(
    x: Tensor,
    cos: Tensor,
    sin: Tensor,
    k_cache: Tensor,
    v_cache: Tensor,
    indices: Tensor,
    scale_k: Tensor,
    scale_v: Tensor,
    size_splits: Sequence[int],
    *,
    offset_k: Tensor | None = None,
    offset_v: Tensor | None = None,
    quant_mode: int = 0,
    input_layout: str = "BSND",
    kv_output: bool = False,
    cache_mode: str = "contiguous",
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """`x` (batch, tokens, width) or (batch, width) holds queries, keys and values side by side.

    The caches are updated in place, which the schema does not say, and given.
    """
    require(size_splits[0] >= 0, "size_splits[0] should not less than 0")
    require(x.dim() in (2, 3), "3D or 2D tensor expected for input x")
    require(v_cache.dim() == 4, "4D tensor expected for input cache")
    require(len(size_splits) == 3, "size_splits's size should be 3")
    if quant_mode:
        raise NotEmulated(f"npu::npu_rope_quant_kvcache: quant_mode={quant_mode}; 0 is")
    if input_layout != "BSND":
        raise NotEmulated(f"npu::npu_rope_quant_kvcache: input_layout={input_layout!r}")
    size = v_cache.shape[3]
    parts = torch.split(x.float(), list(size_splits), dim=-1)
    q, k, v = (torch.unflatten(part, -1, (-1, size)) for part in parts)
    q, k = embedded(q, cos, sin), embedded(k, cos, sin)
    for cache, rows, scale, offset in (
        (k_cache, k, scale_k, offset_k),
        (v_cache, v, scale_v, offset_v),
    ):
        _store(cache, _quantised(rows, scale, offset), indices, cache_mode)
    given = (k, v) if kv_output else (k.new_empty(0), v.new_empty(0))
    k_out, v_out = (t.to(cos.dtype) for t in given)
    return q.to(cos.dtype), k_out, v_out, k_cache.clone(), v_cache.clone()


@chapter.reference(
    "npu::npu_dequant_rope_quant_kvcache",
    source=code_of("opapi/DequantRopeQuantKVCacheKernelNpuOpApi.cpp"),
)
def npu_dequant_rope_quant_kvcache(
    x: Tensor,
    cos: Tensor,
    sin: Tensor,
    k_cache: Tensor,
    v_cache: Tensor,
    indices: Tensor,
    scale_k: Tensor,
    scale_v: Tensor,
    size_splits: Sequence[int],
    *,
    offset_k: Tensor | None = None,
    offset_v: Tensor | None = None,
    weight_scale: Tensor | None = None,
    activation_scale: Tensor | None = None,
    bias: Tensor | None = None,
    quant_mode: int = 0,
    input_layout: str = "BSND",
    kv_output: bool = False,
    cache_mode: str = "contiguous",
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """The same for int32 `x`, the result of a quantised product, which is dequantised first."""
    if x.dtype == torch.int32:
        x = dequantised(x, weight_scale, activation_scale, bias)
    found: tuple[Tensor, Tensor, Tensor, Tensor, Tensor] = npu_rope_quant_kvcache(
        x,
        cos,
        sin,
        k_cache,
        v_cache,
        indices,
        scale_k,
        scale_v,
        size_splits,
        offset_k=offset_k,
        offset_v=offset_v,
        quant_mode=quant_mode,
        input_layout=input_layout,
        kv_output=kv_output,
        cache_mode=cache_mode,
    )
    return found


def _quantised(rows: Tensor, scale: Tensor, offset: Tensor | None) -> Tensor:
    """`rows` (..., heads, d) as int8; factors are (d,) or (heads, d) or flat (heads * d,)."""

    def fitted(factors: Tensor) -> Tensor:
        shape = rows.shape[-2:] if factors.numel() == rows.shape[-2:].numel() else (-1,)
        return factors.float().reshape(shape)

    rows = rows * fitted(scale)
    return format_named("int8").write(rows if offset is None else rows + fitted(offset))


def _store(cache: Tensor, rows: Tensor, indices: Tensor, mode: str) -> None:
    if mode == "contiguous":
        for sample, start in enumerate(indices.tolist()):
            tokens = rows[sample].reshape(-1, *cache.shape[2:])
            cache[sample, start : start + tokens.shape[0]] = tokens
    elif mode == "page":
        slots = cache.view(-1, *cache.shape[2:])
        slots[indices.long()] = rows.reshape(-1, *cache.shape[2:])
    else:
        raise NotEmulated(f"cache_mode={mode!r}; 'contiguous' and 'page' are")
