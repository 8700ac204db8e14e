"""What well-known extensions for NVIDIA's chips compute over sequences, in PyTorch, on any chip.

Each function has the name, the arguments and the results that the extension's has; those that
write into a tensor they are given do so here. Sums are made in single precision, as the kernels
make them. Written by `cordee port`; it needs nothing of Cordée but `ascend_gradients` beside it.
"""

import importlib
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

Functions = dict[str, Callable[..., Any]]
_NAME = "ascend_gradients"  # beside this module
_BESIDE = importlib.import_module(f"{__package__}.{_NAME}" if __package__ else _NAME)
gradients: Callable[..., list[Any]] = _BESIDE.gradients

# RWKV-4: an average over the past that fades.


def wkv_forward(
    B: int, T: int, C: int, w: Tensor, u: Tensor, k: Tensor, v: Tensor, y: Tensor
) -> None:
    y.copy_(_wkv(w, u, k.reshape(B, T, C), v.reshape(B, T, C)).reshape(y.shape))


def wkv_backward(
    B: int, T: int, C: int, w: Tensor, u: Tensor, k: Tensor, v: Tensor, gy: Tensor,
    gw: Tensor, gu: Tensor, gk: Tensor, gv: Tensor,
) -> None:  # fmt: skip
    """`w` is -exp of what is learned: half of that step is made here, as the kernel does."""
    fades, firsts = (x.float().expand(B, C) for x in (w, u))
    whole = [x.reshape(B, T, C) for x in (k, v, gy.float())]
    of_w, of_u, of_k, of_v = gradients(_wkv, (fades, firsts, *whole[:2]), whole[2])
    gw.add_((of_w * w.float()).reshape(gw.shape).to(gw.dtype))
    gu.add_(of_u.reshape(gu.shape).to(gu.dtype))
    gk.copy_(of_k.reshape(gk.shape))
    gv.copy_(of_v.reshape(gv.shape))


def _wkv(w: Tensor, u: Tensor, k: Tensor, v: Tensor) -> Tensor:
    keys, values = k.float(), v.float()
    top = torch.full_like(keys[:, 0], -1e38)  # sums are divided by its exponential
    above = below = torch.zeros_like(top)
    out = []
    for key, value in zip(keys.unbind(1), values.unbind(1), strict=True):
        now = torch.maximum(top, u + key)
        old, new = torch.exp(top - now), torch.exp(u + key - now)
        out.append((old * above + new * value) / (old * below + new))
        now = torch.maximum(w + top, key)
        old, new = torch.exp(w + top - now), torch.exp(key - now)
        above, below, top = old * above + new * value, old * below + new, now
    return torch.stack(out, 1)


# Mamba: a scan over states, and a convolution over the past.

CHUNK = 2048  # steps after which the kernel keeps the states


def scan_fwd(
    u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor | None,
    z: Tensor | None, delta_bias: Tensor | None, delta_softplus: bool,
) -> list[Tensor]:  # fmt: skip
    """The result, the states after each chunk behind the product of their decays, and the gated
    result where there is a gate."""
    out, states = _scan(u, delta, A, B, C, D, delta_bias, delta_softplus)
    gated = [] if z is None else [(out * F.silu(z.float())).to(z.dtype)]
    return [out.to(delta.dtype), states, *gated]


def scan_bwd(
    u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor | None,
    z: Tensor | None, delta_bias: Tensor | None, dout: Tensor, x: Tensor | None,
    out: Tensor | None, dz: Tensor | None, delta_softplus: bool, recompute_out_z: bool,
) -> list[Tensor | None]:  # fmt: skip
    def forward(*given: Any) -> Tensor:
        a, b, c, d, e, f, gate, bias = given
        made, _ = _scan(a, b, c, d, e, f, bias, delta_softplus)
        return made if gate is None else made * F.silu(gate.float())

    found = gradients(forward, (u, delta, A, B, C, D, z, delta_bias), dout.float())
    of_gate, results = found[6], [*found[:6], found[7]]
    if z is not None:
        results.append(of_gate if dz is None else dz.copy_(of_gate))
    if recompute_out_z:
        results.append(scan_fwd(u, delta, A, B, C, D, z, delta_bias, delta_softplus)[-1])
    return results


def _scan(
    u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor | None,
    delta_bias: Tensor | None, softplus: bool,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    if A.is_complex():
        raise NotImplementedError("a selective scan with complex A is not written out")
    steps = delta.float() if delta_bias is None else delta.float() + delta_bias[:, None]
    steps = F.softplus(steps) if softplus else steps
    size = A.shape[0]
    into, outof = (_per_step(x.float(), size) for x in (B, C))
    state = torch.zeros(u.shape[0], *A.shape, device=u.device)
    out, kept, length = [], [], u.shape[2]
    for i in range(length):
        step = steps[:, :, i, None]
        state = torch.exp(step * A) * state + step * into(i) * u.float()[:, :, i, None]
        out.append((state * outof(i)).sum(-1))
        if (i + 1) % CHUNK == 0 or i + 1 == length:
            decay = torch.exp(steps[:, :, : i + 1].sum(-1, keepdim=True) * A)
            kept.append(torch.stack([decay, state], -1).flatten(-2))
    made = torch.stack(out, -1)
    made = made if D is None else made + D[:, None] * u.float()
    return made, torch.stack(kept, 2)


def _per_step(x: Tensor, size: int) -> Callable[[int], Tensor]:
    """What is the same at every step, or (batch, groups, states, steps)."""
    if x.dim() == 2:
        return lambda i: x
    spread = x.repeat_interleave(size // x.shape[1], 1)
    return lambda i: spread[..., i]


def causal_conv1d_fwd(
    x: Tensor, weight: Tensor, bias: Tensor | None, seq_idx: Tensor | None,
    initial_states: Tensor | None, out: Tensor, final_states_out: Tensor | None,
    silu_activation: bool,
) -> None:  # fmt: skip
    made, final = _convolved(x, weight, bias, seq_idx, initial_states, silu_activation)
    out.copy_(made)
    if final_states_out is not None:
        final_states_out.copy_(final)


def causal_conv1d_bwd(
    x: Tensor, weight: Tensor, bias: Tensor | None, dout: Tensor, seq_idx: Tensor | None,
    initial_states: Tensor | None, dfinal_states: Tensor | None, dx: Tensor, dweight: Tensor,
    dbias: Tensor | None, dinitial_states: Tensor | None, silu_activation: bool,
) -> None:  # fmt: skip
    def forward(*given: Any) -> tuple[Tensor, Tensor]:
        a, b, c, initial = given
        return _convolved(a, b, c, seq_idx, initial, silu_activation)

    inputs = (x, weight, bias, initial_states)
    found = gradients(forward, inputs, dout.float(), dfinal_states)
    dx.copy_(found[0])
    for into, of in zip((dweight, dbias, dinitial_states), found[1:], strict=True):
        if into is not None and of is not None:
            into.copy_(into + of if into is not dinitial_states else of)


def causal_conv1d_update(
    x: Tensor, conv_state: Tensor, weight: Tensor, bias: Tensor | None, out: Tensor,
    silu_activation: bool, cache_seqlens: Tensor | None = None,
    conv_state_indices: Tensor | None = None,
) -> None:  # fmt: skip
    """`conv_state` goes on by what is new; with `cache_seqlens` it is a ring."""
    new = x[..., None] if x.dim() == 2 else x
    rows = slice(None) if conv_state_indices is None else conv_state_indices.long()
    state = conv_state[rows]
    length, width, steps = state.shape[-1], weight.shape[1], new.shape[-1]
    if cache_seqlens is None:
        past, kept = state[..., length - width + 1 :], torch.cat([state, new], -1)[..., -length:]
    else:
        at = cache_seqlens.long()[:, None] + torch.arange(-width + 1, steps, device=x.device)
        places = (at % length)[:, None].expand(-1, state.shape[1], -1)
        past = state.gather(2, places[..., : width - 1])
        kept = state.scatter(2, places[..., width - 1 :], new.to(state.dtype))
    made, _ = _convolved(new, weight, bias, None, past, silu_activation)
    conv_state[rows] = kept.to(conv_state.dtype)
    out.copy_(made.reshape(out.shape))


def _convolved(
    x: Tensor, weight: Tensor, bias: Tensor | None, seq_idx: Tensor | None,
    initial: Tensor | None, silu: bool,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """The result in single precision, and the last inputs."""
    width, length = weight.shape[1], x.shape[-1]
    before = x.new_zeros(*x.shape[:2], width - 1) if initial is None else initial.to(x.dtype)
    whole = torch.cat([before, x], -1)
    out = torch.zeros(x.shape, device=x.device)
    for j in range(width):
        seen = whole[..., j : j + length].float() * weight[:, j, None].float()
        if seq_idx is not None:
            then = F.pad(seq_idx, [width - 1, 0], value=-1)[:, j : j + length]
            seen = seen * (then == seq_idx)[:, None]
        out = out + seen
    out = out if bias is None else out + bias[:, None].float()
    out = out if seq_idx is None else out * (seq_idx >= 0)[:, None]
    return F.silu(out) if silu else out, whole[..., whole.shape[-1] - width + 1 :]


def rotated(
    x1: Tensor, x2: Tensor, cos: Tensor, sin: Tensor, out1: Tensor, out2: Tensor, conj: bool
) -> None:
    """flash_attn's rotary_emb.apply_rotary."""
    a, b, c = x1.float(), x2.float(), cos.float()
    s = -sin.float() if conj else sin.float()
    first, second = a * c - b * s, a * s + b * c
    out1.copy_(first)
    out2.copy_(second)


EVERYWHERE: Functions = {}
EXTENSIONS: dict[str, Functions] = {
    r"wkv(_cuda)?(_\d+)?(_bf16)?": {"forward": wkv_forward, "backward": wkv_backward},
    "selective_scan_cuda": {"fwd": scan_fwd, "bwd": scan_bwd},
    "causal_conv1d_cuda": {
        each.__name__: each for each in (causal_conv1d_fwd, causal_conv1d_bwd, causal_conv1d_update)
    },
    "rotary_emb": {"apply_rotary": rotated},
}
