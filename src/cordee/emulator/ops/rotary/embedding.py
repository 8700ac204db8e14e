"""Rotary position embeddings of queries and keys."""

import torch
from torch import Tensor

from cordee.core.errors import NotEmulated
from cordee.emulator.ops.demands import require
from cordee.emulator.ops.reference import Chapter, vjp
from cordee.emulator.ops.rotary.rotation import embedded, halves_first
from cordee.emulator.ops.sources import page_of

chapter = Chapter(source=page_of("npu_rotary_mul"))

# The axis of the heads in each layout that `npu_apply_rotary_pos_emb` takes.
LAYOUTS = ("BSND", "BSH", "SBND", "BNSD", "TND")


@chapter.reference("npu::npu_rotary_mul")
def npu_rotary_mul(
    input: Tensor, r1: Tensor, r2: Tensor, rotary_mode: str = "half", rotate: Tensor | None = None
) -> Tensor:
    _check_mode("npu_rotary_mul", rotary_mode)
    # The adapter casts cos and sin to the input's dtype before the kernel sees them.
    cos, sin = r1.to(input.dtype), r2.to(input.dtype)
    if rotate is None:
        return embedded(input, cos, sin, rotary_mode).to(input.dtype)
    x = input.float()
    turned = x @ rotate.float()
    return (x * cos.float() + turned * sin.float()).to(input.dtype)


@chapter.reference("npu::npu_rotary_mul_backward")
def npu_rotary_mul_backward(
    grad: Tensor, input: Tensor, r1: Tensor, r2: Tensor, rotary_mode: str = "half"
) -> tuple[Tensor, Tensor, Tensor]:
    _check_mode("npu_rotary_mul_backward", rotary_mode)
    dtype = input.dtype
    inputs = (input.float(), r1.to(dtype).float(), r2.to(dtype).float())
    dx, dcos, dsin = vjp(
        lambda x, cos, sin: embedded(x, cos, sin, rotary_mode), inputs, (grad.to(dtype).float(),)
    )
    assert dx is not None
    assert dcos is not None
    assert dsin is not None
    return dx.to(dtype), dcos.to(dtype), dsin.to(dtype)


@chapter.reference("npu::npu_apply_rotary_pos_emb", source=page_of("apply_rotary_pos_emb"))
def npu_apply_rotary_pos_emb(
    query: Tensor,
    key: Tensor,
    cos: Tensor,
    sin: Tensor,
    layout: str = "BSND",
    rotary_mode: str = "half",
) -> tuple[Tensor, Tensor]:
    """Rotates `query` and `key` in place too: the page says so although the schema does not."""
    require(
        rotary_mode in ("half", "quarter", "interleave"),
        f"The layout should be half/quarter/interleave, but got {rotary_mode}",
    )
    if layout not in LAYOUTS:
        raise NotEmulated(f"npu::npu_apply_rotary_pos_emb: layout={layout!r}; one of {LAYOUTS} is")
    turned = tuple(_partly_embedded(x, cos, sin, rotary_mode) for x in (query, key))
    with torch.no_grad():
        for x, y in zip((query, key), turned, strict=True):
            x.data.copy_(y)
    return turned[0], turned[1]


@chapter.gradient("npu::npu_apply_rotary_pos_emb")
def npu_apply_rotary_pos_emb_gradient(
    arguments: tuple[Tensor, ...], outputs: tuple[Tensor, ...], grads: tuple[Tensor | None, ...]
) -> tuple[Tensor | None, ...]:
    """For `query` and `key` only: the forward has overwritten what `cos` and `sin` would need."""
    query, key, cos, sin = arguments[:4]
    mode = str(arguments[5]) if len(arguments) > 5 else "half"
    found = [
        None if g is None else vjp(lambda x: _partly_embedded(x, cos, sin, mode), (x,), (g,))[0]
        for x, g in zip((query, key), grads, strict=True)
    ]
    return (*found, *(None for _ in arguments[2:]))


@chapter.reference("npu::npu_interleave_rope", source=page_of("npu_interleave_rope"))
def npu_interleave_rope(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    return embedded(halves_first(x), cos, sin).to(x.dtype)


@chapter.reference("npu::npu_mrope", source=page_of("npu_mrope"))
def npu_mrope(
    positions: Tensor,
    query: Tensor,
    key: Tensor,
    cos_sin_cache: Tensor,
    head_size: int,
    *,
    mrope_section: list[int] | None = None,
    rotary_mode: str | None = "half",
    cache_mode: str | None = "default",
) -> tuple[Tensor, Tensor]:
    """`query` and `key` are (tokens, heads * head_size); `positions` (tokens) or (m, tokens)."""
    rotary_mode = "half" if rotary_mode is None else rotary_mode
    cache_mode = "default" if cache_mode is None else cache_mode
    require(
        rotary_mode in ("half", "interleave"),
        "rotary_mode only support half or interleave",
    )
    require(
        cache_mode in ("default", "interleave"),
        "cache_mode only support default or interleave",
    )
    cos, sin = cos_sin_cache.float()[positions.long()].chunk(2, dim=-1)
    if positions.dim() == 2:
        sections = list(mrope_section or ())
        cos, sin = (_one_per_token(part, sections, cache_mode) for part in (cos, sin))
    repeat = _doubled if rotary_mode == "half" else _doubled_in_pairs
    cos, sin = repeat(cos).unsqueeze(-2), repeat(sin).unsqueeze(-2)

    def turned(x: Tensor) -> Tensor:
        heads = x.reshape(x.shape[0], -1, head_size)
        return _partly_embedded(heads, cos, sin, rotary_mode).to(x.dtype).reshape(x.shape)

    return turned(query), turned(key)


def _check_mode(operator: str, mode: str) -> None:
    require(
        mode in ("half", "interleave"),
        f"The rotary_mode of {operator} should be half or interleave, but got {mode}",
    )


def _partly_embedded(x: Tensor, cos: Tensor, sin: Tensor, mode: str) -> Tensor:
    """Rotates the leading part of the last axis that `cos` covers; the rest passes through."""
    size = cos.shape[-1]
    head = embedded(x[..., :size], cos, sin, mode).to(x.dtype)
    return head if size == x.shape[-1] else torch.cat((head, x[..., size:]), dim=-1)


def _one_per_token(angles: Tensor, sections: list[int], cache_mode: str) -> Tensor:
    """(m, tokens, d) to (tokens, d): each section of `d` follows its own row of positions."""
    if cache_mode == "default":
        pieces = torch.split(angles, sections, dim=-1)
        return torch.cat([piece[row] for row, piece in enumerate(pieces)], dim=-1)
    if angles.shape[0] != 3:
        raise NotEmulated("npu::npu_mrope: cache_mode='interleave' with other than 3 sections")
    mixed = angles[0].clone()
    for row in (1, 2):
        # Both rows end where section 1 ends, as the page's formula has it.
        columns = slice(row, sections[1] * 3, 3)
        mixed[:, columns] = angles[row][:, columns]
    return mixed


def _doubled(angles: Tensor) -> Tensor:
    return torch.cat((angles, angles), dim=-1)


def _doubled_in_pairs(angles: Tensor) -> Tensor:
    return angles.repeat_interleave(2, dim=-1)
