"""Rotary embeddings as flash_attn.layers.rotary applies them, on any chip.

The kernel is flash_attn's own on a GPU that has it, and the formula in PyTorch elsewhere.

`x` is (batch, sequence, heads, size), or (tokens, heads, size) with cumulated lengths; `cos` and
`sin` are (positions, half of the rotated size). Written by `cordee port`; it needs nothing of
Cordée.
"""

import importlib
import importlib.util
from functools import lru_cache

import torch
from torch import Tensor

VENDOR = "flash_attn"


def apply_rotary_emb(
    x: Tensor,
    cos: Tensor,
    sin: Tensor,
    interleaved: bool = False,
    inplace: bool = False,
    seqlen_offsets: int | Tensor = 0,
    cu_seqlens: Tensor | None = None,
    max_seqlen: int | None = None,
) -> Tensor:
    if x.device.type not in ("cpu", "npu") and _installed():
        vendor = importlib.import_module(f"{VENDOR}.layers.rotary")
        own: Tensor = vendor.apply_rotary_emb(
            x, cos, sin, interleaved, inplace, seqlen_offsets, cu_seqlens, max_seqlen
        )
        return own
    places = _places(x, seqlen_offsets, cu_seqlens)
    turned = _rotated(x, cos[places], sin[places], interleaved)
    if not inplace:
        return turned
    return x.copy_(turned)


apply_rotary_emb_func = apply_rotary_emb


def _places(x: Tensor, offsets: int | Tensor, ends: Tensor | None) -> Tensor:
    """The position of each token: (1 or batch, sequence), or (tokens,)."""
    if ends is None:
        steps = torch.arange(x.shape[1], device=x.device)
        if isinstance(offsets, Tensor):
            return offsets[:, None] + steps
        return (offsets + steps)[None]
    lengths = ends[1:] - ends[:-1]
    starts = torch.repeat_interleave(ends[:-1], lengths)
    places = torch.arange(x.shape[0], device=x.device) - starts
    if isinstance(offsets, Tensor):
        return places + torch.repeat_interleave(offsets, lengths)
    return places + offsets


def _rotated(x: Tensor, cos: Tensor, sin: Tensor, interleaved: bool) -> Tensor:
    size = cos.shape[-1] * 2
    rotated, rest = x[..., :size].float(), x[..., size:]
    cos, sin = cos.unsqueeze(-2).float(), sin.unsqueeze(-2).float()
    a, b = (rotated[..., ::2], rotated[..., 1::2]) if interleaved else rotated.chunk(2, dim=-1)
    parts = (a * cos - b * sin, b * cos + a * sin)
    new = torch.stack(parts, -1).flatten(-2) if interleaved else torch.cat(parts, -1)
    return torch.cat([new.to(x.dtype), rest], dim=-1)


@lru_cache
def _installed() -> bool:
    return importlib.util.find_spec(VENDOR) is not None
