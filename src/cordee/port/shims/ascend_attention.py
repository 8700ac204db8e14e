"""The functions of flash_attn, on any chip.

They are flash_attn's own on a GPU that has it, the fused operator of torch_npu on Ascend, and
PyTorch's attention elsewhere.

Arguments, layouts and results are those of flash_attn 2.8: (batch, sequence, heads, head size), or
(tokens, heads, head size) with cumulated lengths. Causal masks and windows are aligned to the end
of the keys, as flash_attn does since 2.1. Written by `cordee port`; it needs nothing of Cordée.
"""

import importlib
import importlib.util
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

UNBOUNDED = 2147483647
VENDOR = "flash_attn"


@dataclass(frozen=True)
class _Terms:
    """How scores become weights, with the same meaning on every chip."""

    scale: float
    left: int  # keys before the query's own place that it sees; -1: all
    right: int  # keys behind it
    dropout: float = 0.0
    softcap: float = 0.0
    alibi: Tensor | None = None

    @property
    def plain(self) -> bool:
        return not self.softcap and self.alibi is None


def flash_attn_func(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    dropout_p: float = 0.0,
    softmax_scale: float | None = None,
    causal: bool = False,
    window_size: tuple[int, int] = (-1, -1),
    softcap: float = 0.0,
    alibi_slopes: Tensor | None = None,
    deterministic: bool = False,
    return_attn_probs: bool = False,
) -> Any:
    if _vendor(q):
        return _call(flash_attn_func, locals())
    terms = _terms(q, dropout_p, softmax_scale, causal, window_size, softcap, alibi_slopes)
    if return_attn_probs:
        return (*_composed(q, k, v, terms), None)
    if _fits(q, terms, [q.shape[1]], [k.shape[1]]):
        return _fused(q, k, v, "BSND", terms)
    return _dense(q, k, v, terms)


def flash_attn_kvpacked_func(q: Tensor, kv: Tensor, *args: Any, **kwargs: Any) -> Any:
    if _vendor(q):
        return _original("flash_attn_kvpacked_func")(q, kv, *args, **kwargs)
    return flash_attn_func(q, kv[:, :, 0], kv[:, :, 1], *args, **kwargs)


def flash_attn_qkvpacked_func(qkv: Tensor, *args: Any, **kwargs: Any) -> Any:
    if _vendor(qkv):
        return _original("flash_attn_qkvpacked_func")(qkv, *args, **kwargs)
    return flash_attn_func(qkv[:, :, 0], qkv[:, :, 1], qkv[:, :, 2], *args, **kwargs)


def flash_attn_varlen_func(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    cu_seqlens_q: Tensor,
    cu_seqlens_k: Tensor,
    max_seqlen_q: int,
    max_seqlen_k: int,
    dropout_p: float = 0.0,
    softmax_scale: float | None = None,
    causal: bool = False,
    window_size: tuple[int, int] = (-1, -1),
    softcap: float = 0.0,
    alibi_slopes: Tensor | None = None,
    deterministic: bool = False,
    return_attn_probs: bool = False,
    block_table: Tensor | None = None,
) -> Any:
    if _vendor(q):
        return _call(flash_attn_varlen_func, locals())
    terms = _terms(q, dropout_p, softmax_scale, causal, window_size, softcap, alibi_slopes)
    ends_q, ends_k = cu_seqlens_q[1:].tolist(), cu_seqlens_k[1:].tolist()
    spans = list(zip([0, *ends_q], ends_q, [0, *ends_k], ends_k, strict=False))
    if block_table is not None:
        pages, sizes = block_table, [end - start for _, _, start, end in spans]
        k = torch.cat([_paged(k, pages[i], size) for i, size in enumerate(sizes)])
        v = torch.cat([_paged(v, pages[i], size) for i, size in enumerate(sizes)])
    lengths_q, lengths_k = [e - s for s, e, _, _ in spans], [e - s for _, _, s, e in spans]
    if not return_attn_probs and _fits(q, terms, lengths_q, lengths_k):
        return _fused(q, k, v, "TND", terms, ends_q, ends_k)
    parts = []
    for number, (a, b, c, d) in enumerate(spans):
        each = _of_sequence(terms, number)
        parts.append(_composed(q[None, a:b], k[None, c:d], v[None, c:d], each))
    out = torch.cat([part[0][0] for part in parts])
    if not return_attn_probs:
        return out
    return out, torch.cat([part[1][0] for part in parts], dim=-1), None


def flash_attn_varlen_kvpacked_func(q: Tensor, kv: Tensor, *args: Any, **kwargs: Any) -> Any:
    if _vendor(q):
        return _original("flash_attn_varlen_kvpacked_func")(q, kv, *args, **kwargs)
    return flash_attn_varlen_func(q, kv[:, 0], kv[:, 1], *args, **kwargs)


def flash_attn_varlen_qkvpacked_func(
    qkv: Tensor, cu_seqlens: Tensor, max_seqlen: int, *args: Any, **kwargs: Any
) -> Any:
    if _vendor(qkv):
        original = _original("flash_attn_varlen_qkvpacked_func")
        return original(qkv, cu_seqlens, max_seqlen, *args, **kwargs)
    q, k, v = qkv.unbind(1)
    lengths = (cu_seqlens, cu_seqlens, max_seqlen, max_seqlen)
    return flash_attn_varlen_func(q, k, v, *lengths, *args, **kwargs)


def flash_attn_with_kvcache(
    q: Tensor,
    k_cache: Tensor,
    v_cache: Tensor,
    k: Tensor | None = None,
    v: Tensor | None = None,
    rotary_cos: Tensor | None = None,
    rotary_sin: Tensor | None = None,
    cache_seqlens: int | Tensor | None = None,
    cache_batch_idx: Tensor | None = None,
    cache_leftpad: Tensor | None = None,
    block_table: Tensor | None = None,
    softmax_scale: float | None = None,
    causal: bool = False,
    window_size: tuple[int, int] = (-1, -1),
    softcap: float = 0.0,
    rotary_interleaved: bool = True,
    alibi_slopes: Tensor | None = None,
    num_splits: int = 0,
    return_softmax_lse: bool = False,
) -> Any:
    if _vendor(q):
        return _call(flash_attn_with_kvcache, locals())
    batch = q.shape[0]
    terms = _terms(q, 0.0, softmax_scale, causal, window_size, softcap, alibi_slopes)
    if cache_seqlens is None:
        held = k_cache.shape[1] * (block_table.shape[1] if block_table is not None else 1)
        cache_seqlens = held
    if isinstance(cache_seqlens, int):
        cache_seqlens = torch.full((batch,), cache_seqlens, device=q.device)
    lengths = cache_seqlens.long()
    rows = torch.arange(batch, device=q.device)
    if cache_batch_idx is not None:
        rows = cache_batch_idx.long()
    if rotary_cos is not None and rotary_sin is not None and k is not None:
        steps = torch.arange(max(q.shape[1], k.shape[1]), device=q.device)
        places = lengths[:, None] + steps
        moving = causal or tuple(window_size) != (-1, -1)
        of_q = places[:, : q.shape[1]] if moving else lengths[:, None].expand(-1, q.shape[1])
        q = _rotated(q, rotary_cos[of_q], rotary_sin[of_q], rotary_interleaved)
        of_k = places[:, : k.shape[1]]
        k = _rotated(k, rotary_cos[of_k], rotary_sin[of_k], rotary_interleaved)
    if k is not None and v is not None:
        places = lengths[:, None] + torch.arange(k.shape[1], device=q.device)
        _store(k_cache, k, places, rows, block_table)
        _store(v_cache, v, places, rows, block_table)
        lengths = lengths + k.shape[1]
    keys, values = (
        cache[rows] if block_table is None else cache[block_table.long()].flatten(1, 2)
        for cache in (k_cache, v_cache)
    )
    out, lse = _composed(q, keys, values, terms, lengths, cache_leftpad)
    return (out, lse) if return_softmax_lse else out


def index_first_axis(rows: Tensor, indices: Tensor) -> Tensor:
    return rows[indices]


def pad_input(hidden_states: Tensor, indices: Tensor, batch: int, seqlen: int) -> Tensor:
    padded = hidden_states.new_zeros(batch * seqlen, *hidden_states.shape[1:])
    return padded.index_copy(0, indices, hidden_states).view(batch, seqlen, *padded.shape[1:])


def unpad_input(
    hidden_states: Tensor, attention_mask: Tensor, unused_mask: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor, int, Tensor]:
    """Five results, as flash_attn gives since 2.7; before that it gave the first four."""
    kept = attention_mask if unused_mask is None else attention_mask + unused_mask
    lengths = kept.sum(-1, dtype=torch.int32)
    indices = kept.flatten().nonzero().flatten()
    ends = F.pad(lengths.cumsum(0, dtype=torch.int32), (1, 0))
    used = attention_mask.sum(-1, dtype=torch.int32)
    return hidden_states.flatten(0, 1)[indices], indices, ends, int(lengths.max()), used


def _vendor(x: Tensor) -> bool:
    """Whether flash_attn itself is there and runs on this chip."""
    return x.device.type not in ("cpu", "npu") and _installed()


@lru_cache
def _installed() -> bool:
    return importlib.util.find_spec(VENDOR) is not None


def _call(function: Callable[..., Any], arguments: dict[str, Any]) -> Any:
    """What flash_attn gives: what is left at its default is left out, as older versions lack it."""
    usual = {name: p.default for name, p in inspect.signature(function).parameters.items()}
    given = {n: v for n, v in arguments.items() if isinstance(v, Tensor) or v != usual[n]}
    return _original(function.__name__)(**given)


def _original(name: str) -> Callable[..., Any]:
    found: Callable[..., Any] = getattr(importlib.import_module(VENDOR), name)
    return found


def _terms(
    q: Tensor,
    dropout: float,
    scale: float | None,
    causal: bool,
    window: tuple[int, int],
    softcap: float,
    alibi: Tensor | None,
) -> _Terms:
    left, right = window
    scale = q.shape[-1] ** -0.5 if scale is None else scale
    return _Terms(scale, left, 0 if causal else right, dropout, softcap or 0.0, alibi)


def _of_sequence(terms: _Terms, number: int) -> _Terms:
    if terms.alibi is None or terms.alibi.dim() == 1:
        return terms
    alibi = terms.alibi[number]
    return _Terms(terms.scale, terms.left, terms.right, terms.dropout, terms.softcap, alibi)


def _fits(q: Tensor, terms: _Terms, lengths_q: list[int], lengths_k: list[int]) -> bool:
    """Whether the fused operator computes the same: on Ascend, and no query is without keys."""
    bounded = terms.right >= 0 or terms.left >= 0
    shorter = any(b < a for a, b in zip(lengths_q, lengths_k, strict=True))
    empty = 0 in lengths_q or 0 in lengths_k
    return q.device.type == "npu" and terms.plain and not empty and not (bounded and shorter)


@lru_cache
def _triangle(device: torch.device) -> Tensor:
    return torch.ones(2048, 2048, dtype=torch.bool, device=device).triu(1)


def _fused(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    layout: str,
    terms: _Terms,
    ends_q: list[int] | None = None,
    ends_k: list[int] | None = None,
) -> Tensor:
    import torch_npu

    options: dict[str, Any] = {}
    if terms.left < 0 and terms.right == 0:
        options = {"atten_mask": _triangle(q.device), "sparse_mode": 3}
    elif terms.left >= 0 or terms.right >= 0:
        options = {
            "atten_mask": _triangle(q.device),
            "sparse_mode": 4,
            "pre_tockens": terms.left if terms.left >= 0 else UNBOUNDED,
            "next_tockens": terms.right if terms.right >= 0 else UNBOUNDED,
        }
    if ends_q is not None:
        options |= {"actual_seq_qlen": ends_q, "actual_seq_kvlen": ends_k}
    heads, keep = q.shape[-2], 1.0 - terms.dropout
    attention = torch_npu.npu_fusion_attention
    out: Tensor = attention(q, k, v, heads, layout, scale=terms.scale, keep_prob=keep, **options)[0]
    return out


def _dense(q: Tensor, k: Tensor, v: Tensor, terms: _Terms) -> Tensor:
    bounded = terms.left >= 0 or terms.right >= 0
    if not terms.plain or (bounded and k.shape[1] < q.shape[1]):
        return _composed(q, k, v, terms)[0]
    simple = terms.left < 0 and terms.right == 0 and k.shape[1] == q.shape[1]
    keep = _visible(_distances(q, k, None), terms)[:, None] if bounded and not simple else None
    queries, keys, values = (_of_heads(x, q.shape[2]) for x in (q, k, v))
    out = F.scaled_dot_product_attention(
        queries, keys, values, keep, terms.dropout, simple, scale=terms.scale
    )
    return out.transpose(1, 2)


def _composed(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    terms: _Terms,
    lengths: Tensor | None = None,  # of the keys of each sequence; None: all of them
    starts: Tensor | None = None,  # the first key of each
) -> tuple[Tensor, Tensor]:
    """Attention written out, and the logarithm of the sum of its weights."""
    queries, keys, values = (_of_heads(x, q.shape[2]) for x in (q, k, v))
    scores = queries.float() @ keys.float().transpose(-1, -2) * terms.scale
    if terms.softcap:
        scores = terms.softcap * torch.tanh(scores / terms.softcap)
    distances = _distances(q, k, lengths)
    keep = _visible(distances, terms)
    place = torch.arange(k.shape[1], device=q.device)
    if lengths is not None:
        keep = keep & (place < lengths[:, None, None])
    if starts is not None:
        keep = keep & (place >= starts[:, None, None])
    if lengths is not None:
        # What lies in a cache beside a sequence may be no number at all, and a weight of 0 does not undo that.
        values = values.masked_fill(~keep.any(1)[:, None, :, None], 0.0)
    if terms.alibi is not None:
        scores = scores - terms.alibi.float()[..., None, None] * distances[:, None].abs()
    scores = scores.masked_fill(~keep[:, None], float("-inf"))
    lse = scores.logsumexp(-1)
    alone = ~keep.any(-1)[:, None]
    weights = (scores - lse.masked_fill(alone, 0.0)[..., None]).exp()
    out = F.dropout(weights, terms.dropout) @ values.float()
    return out.transpose(1, 2).to(q.dtype), lse.masked_fill(alone, float("inf"))


def _of_heads(x: Tensor, heads: int) -> Tensor:
    """(batch, heads, sequence, size), with keys repeated for the queries that share them."""
    x = x.transpose(1, 2)
    return x if x.shape[1] == heads else x.repeat_interleave(heads // x.shape[1], dim=1)


def _distances(q: Tensor, k: Tensor, lengths: Tensor | None) -> Tensor:
    """How far each key lies before its query's own place: (1 or batch, queries, keys)."""
    ends = torch.tensor([k.shape[1]], device=q.device) if lengths is None else lengths
    places = torch.arange(q.shape[1], device=q.device) - q.shape[1] + ends[:, None]
    return places[:, :, None] - torch.arange(k.shape[1], device=q.device)


def _visible(distances: Tensor, terms: _Terms) -> Tensor:
    keep = torch.ones_like(distances, dtype=torch.bool)
    if terms.left >= 0:
        keep = keep & (distances <= terms.left)
    if terms.right >= 0:
        keep = keep & (distances >= -terms.right)
    return keep


def _paged(cache: Tensor, pages: Tensor, length: int) -> Tensor:
    return cache[pages.long().clamp_min(0)].flatten(0, 1)[:length]


def _store(
    cache: Tensor, rows: Tensor, places: Tensor, of: Tensor, block_table: Tensor | None
) -> None:
    if block_table is None:
        cache[of[:, None], places] = rows
        return
    size = cache.shape[1]
    cache[block_table.long().gather(1, places // size), places % size] = rows


def _rotated(x: Tensor, cos: Tensor, sin: Tensor, interleaved: bool) -> Tensor:
    """`x` turned by angles of (batch, sequence, half the size)."""
    size = cos.shape[-1] * 2
    turned, rest = x[..., :size].float(), x[..., size:]
    cos, sin = cos[:, :, None].float(), sin[:, :, None].float()
    a, b = (turned[..., ::2], turned[..., 1::2]) if interleaved else turned.chunk(2, dim=-1)
    parts = (a * cos - b * sin, b * cos + a * sin)
    new = torch.stack(parts, -1).flatten(-2) if interleaved else torch.cat(parts, -1)
    return torch.cat([new.to(x.dtype), rest], dim=-1)
