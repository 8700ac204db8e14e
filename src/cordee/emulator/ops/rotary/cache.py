"""Rotary embeddings fused with an RMS norm and with the update of a key and value cache."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from cordee.core.errors import NotEmulated
from cordee.emulator.ops.contract import refuse, unwritten
from cordee.emulator.ops.demands import require
from cordee.emulator.ops.formats import format_named
from cordee.emulator.ops.normalisation.rms import rms_normalised
from cordee.emulator.ops.reference import Chapter
from cordee.emulator.ops.rotary.paging import store_heads, store_tokens
from cordee.emulator.ops.rotary.rotation import embedded, halves_first
from cordee.emulator.ops.sources import code_of, page_of

chapter = Chapter(source=page_of("npu_kv_rmsnorm_rope_cache"))


@chapter.reference("npu::npu_kv_rmsnorm_rope_cache")
def npu_kv_rmsnorm_rope_cache(
    kv: Tensor,
    gamma: Tensor,
    cos: Tensor,
    sin: Tensor,
    index: Tensor,
    k_cache: Tensor,
    ckv_cache: Tensor,
    *,
    k_rope_scale: Tensor | None = None,
    c_kv_scale: Tensor | None = None,
    k_rope_offset: Tensor | None = None,
    c_kv_offset: Tensor | None = None,
    v: Tensor | None = None,
    epsilon: float = 1e-5,
    cache_mode: str = "Norm",
    is_output_kv: bool = False,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Updates both caches in place, as the page says and the schema does not, and gives them."""
    refuse("npu::npu_kv_rmsnorm_rope_cache", k_rope_offset=k_rope_offset, c_kv_offset=c_kv_offset)
    for name, tensor, axes in (("kv", kv, 4), ("gamma", gamma, 1), ("cos", cos, 4)):
        require(
            tensor.dim() == axes,
            f"{axes}D tensor expected for input {name}",
        )
    k, c = _keys_and_values(kv, gamma, cos, sin, v, epsilon)
    store_tokens(k_cache, _as_cached(k, k_rope_scale, k_cache), index, cache_mode)
    store_tokens(ckv_cache, _as_cached(c, c_kv_scale, ckv_cache), index, cache_mode)
    given = (k, c) if is_output_kv else (unwritten(x.shape, kv.dtype) for x in (k, c))
    k_out, c_out = (x.to(kv.dtype) for x in given)
    return k_cache.clone(), ckv_cache.clone(), k_out, c_out


@chapter.reference("npu::npu_kv_rmsnorm_rope_cache_v2")
def npu_kv_rmsnorm_rope_cache_v2(
    *values: Any,
    k_cache_dtype: int | None = None,
    ckv_cache_dtype: int | None = None,
    **keywords: Any,
) -> tuple[Tensor, Tensor]:
    """`npu_kv_rmsnorm_rope_cache` without the caches among what it gives."""
    refuse(
        "npu::npu_kv_rmsnorm_rope_cache_v2",
        k_cache_dtype=k_cache_dtype,
        ckv_cache_dtype=ckv_cache_dtype,
    )
    _, _, k, c = npu_kv_rmsnorm_rope_cache(*values, **keywords)
    return k, c


# The adapter's own kernel writes the caches it was given and returns copies from before
# (op_plugin/ops/opapi/KvRmsNormRopeCacheNpuOpApi.cpp); this does what its schema promises.
chapter.pure(
    "npu::npu_kv_rmsnorm_rope_cache_v2_functional",
    npu_kv_rmsnorm_rope_cache_v2,
    "k_cache",
    "ckv_cache",
)


@chapter.reference(
    "npu::npu_qkv_rms_norm_rope_cache", source=code_of("opapi/QkvRmsNormRopeCacheNpuOpApi.cpp")
)
def npu_qkv_rms_norm_rope_cache(
    qkv: Tensor,
    q_gamma: Tensor,
    k_gamma: Tensor,
    cos: Tensor,
    sin: Tensor,
    index: Tensor,
    q_out: Tensor,
    k_cache: Tensor,
    v_cache: Tensor,
    qkv_size: Sequence[int],
    head_nums: Sequence[int],
    *,
    k_scale: Tensor | None = None,
    v_scale: Tensor | None = None,
    k_offset: Tensor | None = None,
    v_offset: Tensor | None = None,
    epsilon: float = 1e-6,
    cache_mode: str = "PA_NZ",
    is_output_qkv: bool = False,
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """`qkv` is (tokens, heads * d): queries, keys and values side by side.

    Writes the queries to `q_out` and the quantised keys and values to their caches; gives all
    three unquantised with `is_output_qkv`, and no tensors without.
    """
    name = "npu_qkv_rms_norm_rope_cache"
    require(qkv.dim() == 2, f"{name}: 2D tensor expected for input qkv")
    if cache_mode != "PA_NZ":
        raise NotEmulated(f"npu::{name}: cache_mode={cache_mode!r}; 'PA_NZ' is")
    size = qkv_size[3]
    heads = torch.unflatten(qkv.float(), -1, (-1, size))
    q, k, v = torch.split(heads, list(head_nums), dim=1)
    cos, sin = (angle.reshape(qkv.shape[0], -1, size) for angle in (cos, sin))
    q = embedded(rms_normalised(q, q_gamma, epsilon)[0], cos, sin)
    k = embedded(rms_normalised(k, k_gamma, epsilon)[0], cos, sin)
    q_out.copy_(q.flatten(1))
    store_heads(k_cache, _divided(k, k_scale, k_offset, k_cache), index)
    store_heads(v_cache, _divided(v, v_scale, v_offset, v_cache), index)
    if not is_output_qkv:
        return None, None, None
    q_before, k_before, v_before = (x.flatten(1).to(qkv.dtype, copy=True) for x in (q, k, v))
    return q_before, k_before, v_before


chapter.pure(
    "npu::npu_qkv_rms_norm_rope_cache_functional",
    npu_qkv_rms_norm_rope_cache,
    "q_out",
    "k_cache",
    "v_cache",
    source=code_of("opapi/QkvRmsNormRopeCacheNpuOpApi.cpp"),
)


def _keys_and_values(
    kv: Tensor, gamma: Tensor, cos: Tensor, sin: Tensor, v: Tensor | None, epsilon: float
) -> tuple[Tensor, Tensor]:
    """What goes into the key cache and into the compressed cache, in float32.

    Without `v`, `kv` holds a part to normalise, which is cached as it is, and a part to rotate,
    the key. With it, `kv` is normalised as a whole and its first part rotated, and `v` is cached.
    """
    turned = cos.shape[-1]
    if v is None:
        normal, head = torch.split(kv.float(), [gamma.shape[0], turned], dim=-1)
        c, _ = rms_normalised(normal, gamma, epsilon)
        return embedded(halves_first(head), cos, sin), c
    normal, _ = rms_normalised(kv.float(), gamma, epsilon)
    head = embedded(halves_first(normal[..., :turned]), cos, sin)
    return torch.cat((head, normal[..., turned:]), dim=-1), v.float()


def _as_cached(rows: Tensor, scale: Tensor | None, cache: Tensor) -> Tensor:
    if scale is None:
        return rows.to(cache.dtype)
    return format_named("int8").write(rows * scale.float())


def _divided(rows: Tensor, scale: Tensor | None, offset: Tensor | None, cache: Tensor) -> Tensor:
    if scale is None:
        return rows.to(cache.dtype)
    rows = rows / scale.float()
    return format_named("int8").write(rows if offset is None else rows + offset.float())
