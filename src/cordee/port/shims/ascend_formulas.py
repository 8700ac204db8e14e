"""What well-known extensions for NVIDIA's chips compute to images, maps and scores, in PyTorch, on any chip.

Each function has the name, the arguments and the results that the extension's has; those that
write into a tensor they are given do so here. Sums are made in single precision, as the kernels
make them. Written by `cordee port`; it needs nothing of Cordée but `ascend_gradients` beside it.
"""

import importlib
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

Functions = dict[str, Callable[..., Any]]
_NAME = "ascend_gradients"  # beside this module
_BESIDE = importlib.import_module(f"{__package__}.{_NAME}" if __package__ else _NAME)
gradients: Callable[..., list[Any]] = _BESIDE.gradients

# StyleGAN: filters and activations.


def upfirdn2d(
    x: Tensor, f: Tensor, upx: int, upy: int, downx: int, downy: int,
    padx0: int, padx1: int, pady0: int, pady1: int, flip: bool | None = None, gain: float = 1.0,
) -> Tensor:  # fmt: skip
    """With `flip` as StyleGAN3 has it, (batch, channels, height, width); without, as the free
    versions of StyleGAN2 have it, (batch, height, width, channels)."""
    if flip is None:
        first = x.permute(0, 3, 1, 2)
        pads = (padx0, padx1, pady0, pady1)
        out = upfirdn2d(first, f, upx, upy, downx, downy, *pads, False)
        return out.permute(0, 2, 3, 1).contiguous()
    batch, channels, height, width = x.shape
    spread = torch.zeros(batch * channels, height, upy, width, upx, device=x.device)
    spread[:, :, 0, :, 0] = x.reshape(-1, height, width).float()
    spread = spread.reshape(-1, 1, height * upy, width * upx)
    padded = F.pad(spread, [padx0, padx1, pady0, pady1])
    taps = (f if flip else f.flip([0, 1])).float() * gain
    out = F.conv2d(padded, taps[None, None], stride=(downy, downx))
    return out.reshape(batch, channels, *out.shape[2:]).to(x.dtype)


def fused_bias_act(
    x: Tensor, bias: Tensor, refer: Tensor, act: int, grad: int, alpha: float, scale: float
) -> Tensor:
    if grad > 1:
        return torch.zeros_like(x)
    if bias.numel():
        x = x + bias.reshape([-1 if n == 1 else 1 for n in range(x.dim())])
    if act == 3:
        sign = refer if grad and refer.numel() else x
        positive = sign > 0 if refer.numel() or not grad else torch.zeros_like(x, dtype=torch.bool)
        x = torch.where(positive, x, x * alpha)
    return x * scale


SELU, ROOT = 1.0507009873554805, 1.0507009873554805 * 1.6732632423543772


def bias_act(
    x: Tensor, b: Tensor, xref: Tensor, yref: Tensor, dy: Tensor, grad: int, dim: int, act: int,
    alpha: float, gain: float, clamp: float,
) -> Tensor:  # fmt: skip
    """The activation of x + b; with `grad`, what flows back through it once or twice."""
    kind = x.dtype
    offset = b.float().reshape([-1 if n == dim else 1 for n in range(x.dim())]) if b.numel() else 0
    value = x.float()
    if grad == 0:
        out = _activated(value + offset, act, alpha) * gain
        return (out.clamp(-clamp, clamp) if clamp >= 0 else out).to(kind)
    before = (xref.float() if xref.numel() else torch.zeros_like(value)) + offset
    after = yref.float() if yref.numel() else torch.zeros_like(value)
    slope = _slope(before, after / gain if gain else after * 0, grad, act, alpha)
    out = value * slope * gain
    if dy.numel():
        out = out * dy.float()
    if clamp >= 0:
        reached = F.silu(before) * gain if act == 9 else after
        out = torch.where(reached.abs() < clamp, out, torch.zeros_like(out))
    return out.to(kind)


def _activated(x: Tensor, act: int, alpha: float) -> Tensor:
    return {
        1: lambda: x, 2: lambda: F.relu(x), 3: lambda: F.leaky_relu(x, alpha),
        4: lambda: torch.tanh(x), 5: lambda: torch.sigmoid(x), 6: lambda: F.elu(x),
        7: lambda: F.selu(x), 8: lambda: F.softplus(x, threshold=80), 9: lambda: F.silu(x),
    }[act]()  # fmt: skip


def _slope(x: Tensor, y: Tensor, grad: int, act: int, alpha: float) -> Tensor:
    """The first or second derivative, from what went in (9) or came out (the others)."""
    one, none, positive = torch.ones_like(y), torch.zeros_like(y), y > 0
    s = torch.sigmoid(x)
    first = {
        1: lambda: one, 2: lambda: torch.where(positive, one, none),
        3: lambda: torch.where(positive, one, one * alpha), 4: lambda: 1 - y * y,
        5: lambda: y * (1 - y), 6: lambda: torch.where(y >= 0, one, y + 1),
        7: lambda: torch.where(y >= 0, one * SELU, y + ROOT), 8: lambda: 1 - torch.exp(-y),
        9: lambda: s * (1 + x * (1 - s)),
    }  # fmt: skip
    second = {
        4: lambda: -2 * y * (1 - y * y), 5: lambda: y * (1 - y) * (1 - 2 * y),
        6: lambda: torch.where(y >= 0, none, y + 1),
        7: lambda: torch.where(y >= 0, none, y + ROOT),
        8: lambda: torch.exp(-y) * (1 - torch.exp(-y)),
        9: lambda: s * (1 - s) * (2 + x * (1 - 2 * s)),
    }  # fmt: skip
    return first[act]() if grad == 1 else second.get(act, lambda: none)()


# Deformable DETR: attention that samples maps of several sizes.


def ms_deform_attn_forward(
    value: Tensor, spatial_shapes: Tensor, level_start_index: Tensor, sampling_loc: Tensor,
    attn_weight: Tensor, im2col_step: int = 64,
) -> Tensor:  # fmt: skip
    batch, _, heads, size = value.shape
    queries, points = sampling_loc.shape[1], sampling_loc.shape[4]
    sizes, starts = spatial_shapes.tolist(), level_start_index.tolist()
    out = value.new_zeros(batch * heads, size, queries)
    for level, ((height, width), start) in enumerate(zip(sizes, starts, strict=True)):
        maps = value[:, start : start + height * width].permute(0, 2, 3, 1)
        maps = maps.reshape(batch * heads, size, height, width)
        places = sampling_loc[:, :, :, level].transpose(1, 2).reshape(-1, queries, points, 2)
        sampled = F.grid_sample(maps, places * 2 - 1, align_corners=False)
        weight = attn_weight[:, :, :, level].transpose(1, 2).reshape(-1, 1, queries, points)
        out = out + (sampled * weight).sum(-1)
    return out.reshape(batch, heads * size, queries).transpose(1, 2).contiguous()


def ms_deform_attn_backward(
    value: Tensor, spatial_shapes: Tensor, level_start_index: Tensor, sampling_loc: Tensor,
    attn_weight: Tensor, grad_output: Tensor, im2col_step: int = 64,
) -> list[Tensor | None]:  # fmt: skip
    def forward(values: Tensor, places: Tensor, weights: Tensor) -> Tensor:
        return ms_deform_attn_forward(values, spatial_shapes, level_start_index, places, weights)

    return gradients(forward, (value, sampling_loc, attn_weight), grad_output)


# Megatron: softmax of scaled and masked scores.


def _softmax(x: Tensor, scale: Any) -> Tensor:
    return torch.softmax(x.float() * float(scale), -1).to(x.dtype)


def _masked_softmax(x: Tensor, mask: Tensor, scale: Any) -> Tensor:
    """Where `mask` is 1 nothing is seen; a row that sees nothing is zero."""
    hidden = mask.bool()
    scores = (x.float() * float(scale)).masked_fill(hidden, -10000.0)
    return (torch.softmax(scores, -1) * ~hidden.all(-1, keepdim=True)).to(x.dtype)


def _causal_softmax(x: Tensor, scale: Any) -> Tensor:
    later = torch.ones(x.shape[-2:], dtype=torch.bool, device=x.device).triu(1)
    scores = (x.float() * float(scale)).masked_fill(later, float("-inf"))
    return torch.softmax(scores, -1).to(x.dtype)


def _softmax_backward(output_grads: Tensor, softmax_results: Tensor, scale: Any) -> Tensor:
    grads, results = output_grads.float(), softmax_results.float()
    inner = (grads * results).sum(-1, keepdim=True)
    return ((grads - inner) * results * float(scale)).to(output_grads.dtype)


def _batch_per_block(*sizes: int) -> int:
    return 1  # any number of batches is good for PyTorch


# Apex: norms over the last sizes, with what the way back needs.


def _normed(
    x: Tensor, shape: Sequence[int], eps: float, centred: bool = True
) -> tuple[Tensor, Tensor, Tensor]:
    """What is scaled to one, the mean, and the inverse of the deviation: one a row."""
    rows = x.float().reshape(-1, _count(shape))
    mean = rows.mean(-1) if centred else rows.new_zeros(rows.shape[0])
    inverse = ((rows - mean[:, None]).square().mean(-1) + eps).rsqrt()
    return (rows - mean[:, None]) * inverse[:, None], mean, inverse


def _count(shape: Sequence[int]) -> int:
    return torch.Size(shape).numel()


def _kept(x: Tensor, *sums: Tensor) -> list[Tensor]:
    kind = torch.float32 if x.dtype in (torch.float16, torch.bfloat16) else x.dtype
    return [each.to(kind) for each in sums]


def layer_norm(x: Tensor, shape: Sequence[int], eps: float) -> list[Tensor]:
    made, mean, inverse = _normed(x, shape, eps)
    return [made.reshape(x.shape).to(x.dtype), *_kept(x, mean, inverse)]


def layer_norm_affine(
    x: Tensor, shape: Sequence[int], gamma: Tensor, beta: Tensor, eps: float
) -> list[Tensor]:
    made, mean, inverse = _normed(x, shape, eps)
    made = (made * gamma.float().flatten() + beta.float().flatten()).reshape(x.shape)
    return [made.to(x.dtype), *_kept(x, mean, inverse)]


def layer_norm_affine_mixed_dtypes(
    x: Tensor, shape: Sequence[int], gamma: Tensor, beta: Tensor, eps: float
) -> list[Tensor]:
    made, *sums = layer_norm_affine(x.float(), shape, gamma, beta, eps)
    return [made.to(gamma.dtype), *_kept(x, *sums)]


def rms_norm(x: Tensor, shape: Sequence[int], eps: float) -> list[Tensor]:
    made, _, inverse = _normed(x, shape, eps, centred=False)
    return [made.reshape(x.shape).to(x.dtype), *_kept(x, inverse)]


def rms_norm_affine(x: Tensor, shape: Sequence[int], gamma: Tensor, eps: float) -> list[Tensor]:
    made, _, inverse = _normed(x, shape, eps, centred=False)
    return [(made * gamma.float().flatten()).reshape(x.shape).to(x.dtype), *_kept(x, inverse)]


def rms_norm_affine_mixed_dtypes(
    x: Tensor, shape: Sequence[int], gamma: Tensor, eps: float
) -> list[Tensor]:
    made, inverse = rms_norm_affine(x.float(), shape, gamma, eps)
    return [made.to(gamma.dtype), *_kept(x, inverse)]


def _norm_backward(
    dout: Tensor, mean: Tensor | None, inverse: Tensor, x: Tensor, shape: Sequence[int],
    gamma: Tensor | None, centred: bool, memory_efficient: bool,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """What flows back to the input, and each row's part of what flows to gamma."""
    if memory_efficient:
        raise NotImplementedError("a fused norm with memory_efficient=True is not written out")
    count = _count(shape)
    rows, flowing = x.float().reshape(-1, count), dout.float().reshape(-1, count)
    made = (rows if mean is None else rows - mean[:, None]) * inverse.float()[:, None]
    scaled = flowing if gamma is None else flowing * gamma.float().flatten()
    back = scaled - made * (scaled * made).mean(-1, keepdim=True)
    back = back - scaled.mean(-1, keepdim=True) if centred else back
    return (back * inverse.float()[:, None]).reshape(x.shape).to(x.dtype), flowing * made


def layer_norm_backward(
    dout: Tensor, mean: Tensor | None, invvar: Tensor, x: Tensor, shape: Sequence[int],
    eps: float, memory_efficient: bool = False,
) -> Tensor:  # fmt: skip
    return _norm_backward(dout, mean, invvar, x, shape, None, True, memory_efficient)[0]


def layer_norm_backward_affine(
    dout: Tensor, mean: Tensor | None, invvar: Tensor, x: Tensor, shape: Sequence[int],
    gamma: Tensor, beta: Tensor, eps: float, memory_efficient: bool = False,
) -> list[Tensor]:  # fmt: skip
    back, parts = _norm_backward(dout, mean, invvar, x, shape, gamma, True, memory_efficient)
    of_beta = dout.float().reshape(parts.shape).sum(0)
    of_gamma = parts.sum(0).reshape(gamma.shape).to(gamma.dtype)
    return [back, of_gamma, of_beta.reshape(beta.shape).to(beta.dtype)]


def rms_norm_backward(
    dout: Tensor, invvar: Tensor, x: Tensor, shape: Sequence[int], eps: float,
    memory_efficient: bool = False,
) -> Tensor:  # fmt: skip
    return _norm_backward(dout, None, invvar, x, shape, None, False, memory_efficient)[0]


def rms_norm_backward_affine(
    dout: Tensor, invvar: Tensor, x: Tensor, shape: Sequence[int], gamma: Tensor, eps: float,
    memory_efficient: bool = False,
) -> list[Tensor]:  # fmt: skip
    back, parts = _norm_backward(dout, None, invvar, x, shape, gamma, False, memory_efficient)
    return [back, parts.sum(0).reshape(gamma.shape).to(gamma.dtype)]


SOFTMAX: Functions = {"backward": _softmax_backward, "get_batch_per_block": _batch_per_block}
EVERYWHERE: Functions = {
    each.__name__: each
    for each in (upfirdn2d, fused_bias_act, ms_deform_attn_forward, ms_deform_attn_backward)
}
EXTENSIONS: dict[str, Functions] = {
    "bias_act(_plugin)?": {"bias_act": bias_act},
    "(generic_)?scaled_masked_softmax_cuda": {**SOFTMAX, "forward": _masked_softmax},
    "scaled_softmax_cuda": {**SOFTMAX, "forward": _softmax},
    "scaled_upper_triang_masked_softmax_cuda": {**SOFTMAX, "forward": _causal_softmax},
    "fused_layer_norm_cuda": {
        "forward": layer_norm,
        "forward_affine": layer_norm_affine,
        "forward_affine_mixed_dtypes": layer_norm_affine_mixed_dtypes,
        "backward": layer_norm_backward,
        "backward_affine": layer_norm_backward_affine,
        "rms_forward": rms_norm,
        "rms_forward_affine": rms_norm_affine,
        "rms_forward_affine_mixed_dtypes": rms_norm_affine_mixed_dtypes,
        "rms_backward": rms_norm_backward,
        "rms_backward_affine": rms_norm_backward_affine,
    },
}
