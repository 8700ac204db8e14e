"""npu_mla_prolog: from tokens to the queries and the cached keys of latent attention.

DeepSeek-AI, "DeepSeek-V2" (arXiv:2405.04434), section 2.1 and appendix C: queries and keys go
through a low rank; the rotary part stays apart. Widths: He hidden, Hcq and Hckv the low ranks of
queries and keys, D and Dr a head's parts without and with rotation.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from cordee.core.errors import NotEmulated
from cordee.emulator.ops.contract import refuse
from cordee.emulator.ops.demands import require
from cordee.emulator.ops.reference import Chapter
from cordee.emulator.ops.sources import page_of

chapter = Chapter(source=page_of("npu_mla_prolog_v3"))

INT8_LARGEST = 127
FRACTAL_BYTES = 32
QUANTISED_KEYS = (0, 1, 2)  # kv_cache_quant_mode: not, by one scale, by a scale for each channel


@dataclass(frozen=True, slots=True)
class Weights:
    """Projections, and the scales of those that are int8."""

    down_query: Tensor  # [He, Hcq]
    up_query: Tensor  # [Hcq, N * (D + Dr)]
    absorb_key: Tensor  # [N, D, Hckv]
    down_key: Tensor  # [He, Hckv + Dr]
    gamma_query: Tensor  # [Hcq]
    gamma_key: Tensor  # [Hckv]
    scale_down_query: Tensor | None
    scale_up_query: Tensor | None
    scale_down_key: Tensor | None
    smooth: Tensor | None  # [1, Hcq]
    epsilon_query: float
    epsilon_key: float
    query_scale: float = 1.0
    key_scale: float = 1.0


@dataclass(frozen=True, slots=True)
class Tokens:
    """What goes in: tokens [T, He], their scale where they are int8, and their rotation [T, Dr]."""

    x: Tensor
    scale: Tensor | None
    sin: Tensor
    cos: Tensor


@dataclass(frozen=True, slots=True)
class Caches:
    """Where keys go."""

    key: Tensor
    rope: Tensor
    index: Tensor | None
    mode: str
    scale_key: Tensor | None
    scale_rope: Tensor | None
    lengths: Tensor | None = None


class Queries(NamedTuple):
    """Queries [T, N, Hckv], their rotary part [T, N, Dr], and what they were made of."""

    latent: Tensor
    rope: Tensor
    scale: Tensor | None  # [T, N, 1], where the queries are int8
    norm: Tensor  # [T, Hcq]
    norm_scale: Tensor | None  # [T, 1], where that is int8


@chapter.reference("npu::npu_mla_prolog", source=page_of("npu_mla_prolog"))
def mla_prolog(*arguments: object, **named: object) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Queries, their rotary part, and both caches, written in place."""
    query, query_rope, kv_cache, kr_cache, _ = mla_prolog_v2(*arguments, **named)
    return query, query_rope, kv_cache, kr_cache


@chapter.reference("npu::npu_mla_prolog_v2", source=page_of("npu_mla_prolog_v2"))
def mla_prolog_v2(
    token_x: Tensor,
    weight_dq: Tensor,
    weight_uq_qr: Tensor,
    weight_uk: Tensor,
    weight_dkv_kr: Tensor,
    rmsnorm_gamma_cq: Tensor,
    rmsnorm_gamma_ckv: Tensor,
    rope_sin: Tensor,
    rope_cos: Tensor,
    cache_index: Tensor,
    kv_cache: Tensor,
    kr_cache: Tensor,
    dequant_scale_x: Tensor | None = None,
    dequant_scale_w_dq: Tensor | None = None,
    dequant_scale_w_uq_qr: Tensor | None = None,
    dequant_scale_w_dkv_kr: Tensor | None = None,
    quant_scale_ckv: Tensor | None = None,
    quant_scale_ckr: Tensor | None = None,
    smooth_scales_cq: Tensor | None = None,
    rmsnorm_epsilon_cq: float = 1e-5,
    rmsnorm_epsilon_ckv: float = 1e-5,
    cache_mode: str = "PA_BSND",
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Queries, their rotary part, both caches written in place, and the scale of the queries."""
    weights = Weights(
        weight_dq, weight_uq_qr, weight_uk, weight_dkv_kr, rmsnorm_gamma_cq, rmsnorm_gamma_ckv,
        dequant_scale_w_dq, dequant_scale_w_uq_qr, dequant_scale_w_dkv_kr, smooth_scales_cq,
        rmsnorm_epsilon_cq, rmsnorm_epsilon_ckv,
    )  # fmt: skip
    caches = Caches(kv_cache, kr_cache, cache_index, cache_mode, quant_scale_ckv, quant_scale_ckr)
    tokens = _tokens(token_x, dequant_scale_x, rope_sin, rope_cos)
    quantised = token_x.dtype == torch.int8 and quant_scale_ckv is not None
    found = queries(weights, tokens, quant_scale_ckv if quantised else None)
    write_keys(weights, tokens, caches)
    rows = token_x.shape[:-1]
    dtype = torch.int8 if quantised else rope_sin.dtype
    scale = found.scale if found.scale is not None else torch.zeros(1)
    latent, rope = (part.unflatten(0, rows) for part in (found.latent, found.rope))
    return latent.to(dtype), rope.to(torch.bfloat16), kv_cache, kr_cache, scale


@dataclass(frozen=True, slots=True)
class ArgumentsV3:
    """The arguments of npu_mla_prolog_v3, as its schema has them."""

    token_x: Tensor
    weight_dq: Tensor
    weight_uq_qr: Tensor
    weight_uk: Tensor
    weight_dkv_kr: Tensor
    rmsnorm_gamma_cq: Tensor
    rmsnorm_gamma_ckv: Tensor
    rope_sin: Tensor
    rope_cos: Tensor
    kv_cache: Tensor
    kr_cache: Tensor
    cache_index: Tensor | None = None
    dequant_scale_x: Tensor | None = None
    dequant_scale_w_dq: Tensor | None = None
    dequant_scale_w_uq_qr: Tensor | None = None
    dequant_scale_w_dkv_kr: Tensor | None = None
    quant_scale_ckv: Tensor | None = None
    quant_scale_ckr: Tensor | None = None
    smooth_scales_cq: Tensor | None = None
    actual_seq_len: Tensor | None = None
    k_nope_clip_alpha: Tensor | None = None
    rmsnorm_epsilon_cq: float = 1e-5
    rmsnorm_epsilon_ckv: float = 1e-5
    cache_mode: str = "PA_BSND"
    query_norm_flag: bool = False
    weight_quant_mode: int = 0
    kv_cache_quant_mode: int = 0
    query_quant_mode: int = 0
    ckvkr_repo_mode: int = 0
    quant_scale_repo_mode: int = 0
    tile_size: int = 128
    qc_qr_scale: float = 1.0
    kc_scale: float = 1.0
    token_x_dtype: int | None = None
    weight_dq_dtype: int | None = None
    weight_uq_qr_dtype: int | None = None
    weight_dkv_kr_dtype: int | None = None
    kv_cache_dtype: int | None = None

    def __post_init__(self) -> None:
        operator = "npu_mla_prolog_v3"
        refuse(
            operator,
            k_nope_clip_alpha=self.k_nope_clip_alpha,
            token_x_dtype=self.token_x_dtype,
            kv_cache_dtype=self.kv_cache_dtype,
        )
        if self.weight_quant_mode > 2:
            raise NotEmulated(
                f"{operator}: weight_quant_mode {self.weight_quant_mode} is not emulated"
            )
        if self.kv_cache_quant_mode not in QUANTISED_KEYS or self.ckvkr_repo_mode:
            raise NotEmulated(
                f"{operator}: kv_cache_quant_mode {self.kv_cache_quant_mode} is not emulated"
            )


@chapter.reference("npu::npu_mla_prolog_v3")
def mla_prolog_v3(
    *values: object, **named: object
) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None, Tensor | None]:
    """Queries, their rotary part and scale, the queries' norm and its scale; writes the caches."""
    given = ArgumentsV3(*values, **named)  # type: ignore[arg-type]
    weights = Weights(
        given.weight_dq, given.weight_uq_qr, given.weight_uk, given.weight_dkv_kr,
        given.rmsnorm_gamma_cq, given.rmsnorm_gamma_ckv, given.dequant_scale_w_dq,
        given.dequant_scale_w_uq_qr, given.dequant_scale_w_dkv_kr, given.smooth_scales_cq,
        given.rmsnorm_epsilon_cq, given.rmsnorm_epsilon_ckv, given.qc_qr_scale, given.kc_scale,
    )  # fmt: skip
    tokens = _tokens(given.token_x, given.dequant_scale_x, given.rope_sin, given.rope_cos)
    caches = Caches(
        given.kv_cache, given.kr_cache, given.cache_index, given.cache_mode,
        given.quant_scale_ckv, given.quant_scale_ckr, given.actual_seq_len,
    )  # fmt: skip
    quantised = given.weight_quant_mode == 2 and given.kv_cache_quant_mode == 1
    found = queries(weights, tokens, given.quant_scale_ckv if quantised else None)
    write_keys(weights, tokens, caches)
    rows = given.token_x.shape[:-1]
    latent = found.latent.unflatten(0, rows).to(torch.int8 if quantised else torch.bfloat16)
    rope = found.rope.unflatten(0, rows).to(torch.bfloat16)
    if not given.query_norm_flag:
        return latent, rope, found.scale, None, None
    norm = found.norm.unflatten(0, rows).to(given.weight_uq_qr.dtype)
    return latent, rope, found.scale, norm, found.norm_scale


@chapter.reference("npu::npu_mla_prolog_v3_functional")
def mla_prolog_v3_functional(*values: object, **named: object) -> tuple[Tensor | None, ...]:
    """The same, with copies of both caches written and given too."""
    given = ArgumentsV3(*values, **named)  # type: ignore[arg-type]
    caches = [given.kv_cache.clone(), given.kr_cache.clone()]
    whole = {name: getattr(given, name) for name in ArgumentsV3.__slots__}
    whole |= {"kv_cache": caches[0], "kr_cache": caches[1]}
    return (*mla_prolog_v3(**whole), *caches)


def queries(weights: Weights, tokens: Tokens, quant_scale: Tensor | None) -> Queries:
    """Queries of all tokens; int8 with a scale for each head where `quant_scale` is given."""
    heads, size, _ = weights.absorb_key.shape
    low = _product(tokens.x, weights.down_query, tokens.scale, weights.scale_down_query)
    norm = _rms_norm(low, weights.gamma_query, weights.epsilon_query) * weights.query_scale
    norm_scale = None
    if weights.up_query.dtype == torch.int8:
        norm, norm_scale = _as_int8(
            norm if weights.smooth is None else norm * weights.smooth.float()
        )
    wide = _product(norm, weights.up_query, norm_scale, weights.scale_up_query)
    nope, rotary = wide.unflatten(-1, (heads, -1)).split([size, tokens.sin.shape[-1]], -1)
    latent = torch.einsum("tnd,ndc->tnc", nope, weights.absorb_key.float())
    rope = _rotated(rotary, tokens.sin.unsqueeze(1), tokens.cos.unsqueeze(1))
    if quant_scale is None:
        return Queries(latent, rope, None, norm, norm_scale)
    latent, scale = _as_int8(latent)
    # The rotary part takes the scales that the dot product of the rest will be multiplied with.
    return Queries(latent, rope * quant_scale.flatten()[0].float() / scale, scale, norm, norm_scale)


def write_keys(weights: Weights, tokens: Tokens, caches: Caches) -> None:
    """Keys of all tokens, into the caches."""
    rank = weights.gamma_key.shape[0]
    low = _product(tokens.x, weights.down_key, tokens.scale, weights.scale_down_key)
    latent = _rms_norm(low[:, :rank], weights.gamma_key, weights.epsilon_key) * weights.key_scale
    rope = _rotated(low[:, rank:], tokens.sin, tokens.cos)
    _write(caches, caches.key, _stored(latent, caches.key, caches.scale_key))
    _write(caches, caches.rope, _stored(rope, caches.rope, caches.scale_rope))


def _tokens(x: Tensor, scale: Tensor | None, sin: Tensor, cos: Tensor) -> Tokens:
    flat = (tensor.reshape(-1, tensor.shape[-1]) for tensor in (x, sin, cos))
    rows, sines, cosines = flat
    return Tokens(rows, scale, sines.float(), cosines.float())


def _product(
    x: Tensor, weight: Tensor, scale: Tensor | None, weight_scale: Tensor | None
) -> Tensor:
    out = x.float() @ weight.float()
    if weight.dtype != torch.int8:
        return out
    require(
        scale is not None and weight_scale is not None,
        "npu_mla_prolog: weights of int8 need the scales of both sides",
    )
    assert scale is not None
    assert weight_scale is not None
    return out * scale.float().view(-1, 1) * weight_scale.float().view(1, -1)


def _rms_norm(x: Tensor, gamma: Tensor, epsilon: float) -> Tensor:
    return x * (x.square().mean(-1, keepdim=True) + epsilon).rsqrt() * gamma.float()


def _rotated(x: Tensor, sin: Tensor, cos: Tensor) -> Tensor:
    """Rotate pairs of neighbours, and put their first halves before their second ones."""
    first, second = x[..., ::2], x[..., 1::2]
    return torch.cat([first, second], -1) * cos + torch.cat([-second, first], -1) * sin


def _as_int8(x: Tensor) -> tuple[Tensor, Tensor]:
    """Whole numbers for `x`, and the scale of each row."""
    scale = x.abs().amax(-1, keepdim=True) / INT8_LARGEST
    return (x / scale).round().clamp(-INT8_LARGEST - 1, INT8_LARGEST), scale


def _stored(x: Tensor, cache: Tensor, scale: Tensor | None) -> Tensor:
    if scale is not None and cache.dtype == torch.int8:
        x = (x * scale.float().view(1, -1)).round().clamp(-INT8_LARGEST - 1, INT8_LARGEST)
    return x.to(cache.dtype)


def _write(caches: Caches, cache: Tensor, rows: Tensor) -> None:
    """Put `rows` [T, width] where the cache's mode says."""
    if caches.mode in ("BSND", "TND"):
        cache.copy_(rows.view(cache.shape))
        return
    blocks, size = cache.shape[:2]
    if caches.index is None or caches.mode not in ("PA_BSND", "PA_NZ", "PA_BLK_BSND", "PA_BLK_NZ"):
        raise NotEmulated(f"npu_mla_prolog: cache_mode {caches.mode} without cache_index")
    slots = _slots(caches, rows.shape[0], size)
    kept = (slots >= 0) & (slots < blocks * size)
    slots, rows = slots[kept], rows[kept]
    if not caches.mode.endswith("NZ"):
        cache.view(blocks * size, -1)[slots] = rows
        return
    width = FRACTAL_BYTES // cache.element_size()
    fractal = cache.view(blocks, -1, size, width)
    fractal[slots // size, :, slots % size] = rows.unflatten(-1, (-1, width))


def _slots(caches: Caches, count: int, size: int) -> Tensor:
    """The slot of each token; the modes with BLK give a block for each `size` tokens."""
    assert caches.index is not None
    index = caches.index.flatten().long()
    if "BLK" not in caches.mode:
        return index
    ends = [count] if caches.lengths is None else [int(n) for n in caches.lengths.tolist()]
    if caches.lengths is None and caches.index.dim() == 2:
        step = count // caches.index.shape[0]
        ends = list(range(step, count + 1, step))
    parts, block, start = [], 0, 0
    for end in ends:
        place = torch.arange(end - start)
        parts.append(index[block + place // size] * size + place % size)
        block, start = block + -(-(end - start) // size), end
    return torch.cat(parts)
