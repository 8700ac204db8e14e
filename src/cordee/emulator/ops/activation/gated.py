"""Gated linear units: one part of an axis, activated, times the other."""

import torch
import torch.nn.functional as F
from torch import Tensor

from cordee.emulator.ops.activation.pointwise import gelu
from cordee.emulator.ops.demands import require
from cordee.emulator.ops.reference import Chapter, vjp
from cordee.emulator.ops.sources import code_of, page_of

chapter = Chapter(source=page_of("npu_swiglu", beta=True))


@chapter.reference("npu::npu_swiglu")
def npu_swiglu(input: Tensor, dim: int = -1) -> Tensor:
    return swiglu(input.float(), dim).to(input.dtype)


@chapter.reference("npu::npu_swiglu_backward")
def npu_swiglu_backward(grad_output: Tensor, input: Tensor, dim: int = -1) -> Tensor:
    (found,) = vjp(lambda x: swiglu(x, dim), (input.float(),), (grad_output.float(),))
    assert found is not None
    return found.to(input.dtype)


@chapter.reference("npu::npu_clipped_swiglu", source=page_of("npu_clipped_swiglu"))
def npu_clipped_swiglu(
    x: Tensor,
    *,
    group_index: Tensor | None = None,
    dim: int = -1,
    alpha: float = 1.702,
    limit: float = 7.0,
    bias: float = 1.0,
    interleaved: bool = True,
) -> Tensor:
    """Rows past the sum of `group_index` are undefined on the device; here they are zero."""
    axis = dim % x.dim()
    shape = list(x.shape)
    shape[axis] //= 2
    rows = x.float().reshape(x.shape[:axis].numel(), -1)
    used = rows.shape[0]
    if group_index is not None:
        used = min(int(group_index.sum()), used)
    y = rows.new_zeros(rows.shape[0], rows.shape[1] // 2)
    y[:used] = clipped_swiglu(rows[:used], alpha, limit, bias, interleaved)
    return y.reshape(shape).to(x.dtype)


@chapter.reference("npu::npu_gelu_mul", source=page_of("npu_gelu_mul"))
def npu_gelu_mul(input: Tensor, *, approximate: str = "none") -> Tensor:
    activated, rest = halves(input.float(), -1)
    return (gelu(activated, approximate) * rest).to(input.dtype)


@chapter.reference("npu::npu_geglu", source=code_of("opapi/GeGluKernelNpuOpApi.cpp"))
def npu_geglu(
    input: Tensor, dim: int = -1, approximate: int = 1, activate_left: bool = False
) -> tuple[Tensor, Tensor]:
    """The gated unit and its activated part; `approximate` is 0 (erf) or 1 (tanh)."""
    rest, activated = _ordered(input.float(), dim, activate_left)
    activated = gelu(activated, _approximation(approximate))
    return (rest * activated).to(input.dtype), activated.to(input.dtype, copy=True)


@chapter.reference("npu::npu_geglu_grad", source=code_of("opapi/GeGluKernelNpuOpApi.cpp"))
def npu_geglu_grad(
    grad_output: Tensor,
    input: Tensor,
    gelu: Tensor,
    dim: int = -1,
    approximate: int = 1,
    activate_left: bool = False,
) -> Tensor:
    """`gelu`, the activated part that the forward saved, is computed again from `input`."""
    (found,) = vjp(
        lambda x: npu_geglu(x, dim, approximate, activate_left)[0],
        (input.float(),),
        (grad_output.float(),),
    )
    assert found is not None
    return found.to(input.dtype)


def swiglu(x: Tensor, dim: int = -1, activate_left: bool = True) -> Tensor:
    """silu(one half) * the other half of axis `dim`."""
    rest, activated = _ordered(x, dim, activate_left)
    return F.silu(activated) * rest


def clipped_swiglu(
    x: Tensor, alpha: float, limit: float, bias: float, interleaved: bool, left: bool = True
) -> Tensor:
    """The variant with clamped parts; `interleaved` splits the last axis into even and odd."""
    gate, linear = (x[..., ::2], x[..., 1::2]) if interleaved else halves(x, -1)
    if not left and not interleaved:
        gate, linear = linear, gate
    gate, linear = gate.clamp(max=limit), linear.clamp(-limit, limit)
    return gate * torch.sigmoid(alpha * gate) * (linear + bias)


def halves(x: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    """The two halves of axis `dim`, which must be even."""
    require(
        x.shape[dim] % 2 == 0,
        f"axis {dim} of shape {tuple(x.shape)} must be divisible by 2",
    )
    left, right = x.chunk(2, dim)
    return left, right


def _ordered(x: Tensor, dim: int, activate_left: bool) -> tuple[Tensor, Tensor]:
    """The half that passes through and the half to activate."""
    left, right = halves(x, dim)
    return (right, left) if activate_left else (left, right)


def _approximation(code: int) -> str:
    require(code in (0, 1), f"approximate must be 0 or 1, but got {code}")
    return "tanh" if code else "none"
