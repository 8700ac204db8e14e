"""Activation functions of one argument, and their backwards."""

import torch
import torch.nn.functional as F
from torch import Tensor

from cordee.emulator.ops.demands import require
from cordee.emulator.ops.reference import Chapter, Function, vjp
from cordee.emulator.ops.sources import page_of

chapter = Chapter(source=page_of("npu_gelu"))


@chapter.reference("npu::npu_gelu")
def npu_gelu(input: Tensor, *, approximate: str = "none") -> Tensor:
    return gelu(input.float(), approximate).to(input.dtype)


@chapter.reference("npu::npu_gelu_backward")
def npu_gelu_backward(grad_output: Tensor, input: Tensor, *, approximate: str = "none") -> Tensor:
    dtype = torch.result_type(grad_output, input)
    return _backward(lambda x: gelu(x, approximate), grad_output, input).to(dtype)


@chapter.reference("npu::npu_fast_gelu", "npu::fast_gelu", source=page_of("npu_fast_gelu"))
def npu_fast_gelu(input: Tensor) -> Tensor:
    return _fast_gelu(input.float()).to(input.dtype)


@chapter.reference("npu::npu_fast_gelu_backward", source=page_of("npu_fast_gelu"))
def npu_fast_gelu_backward(grad: Tensor, input: Tensor) -> Tensor:
    return _backward(_fast_gelu, grad, input).to(input.dtype)


@chapter.reference("npu::npu_silu", source=page_of("npu_silu", beta=True))
def npu_silu(input: Tensor) -> Tensor:
    return F.silu(input.float()).to(input.dtype)


@chapter.reference("npu::npu_silu_", source=page_of("npu_silu", beta=True))
def npu_silu_(input: Tensor) -> Tensor:
    return input.copy_(npu_silu(input))


@chapter.reference("npu::npu_silu_backward", source=page_of("npu_silu", beta=True))
def npu_silu_backward(grad_output: Tensor, x0: Tensor, x1: Tensor) -> Tensor:
    """`x0` is what the forward read; `x1`, what it gave, is not needed."""
    return _backward(F.silu, grad_output, x0).to(grad_output.dtype)


@chapter.reference("npu::npu_mish", source=page_of("npu_mish", beta=True))
def npu_mish(input: Tensor) -> Tensor:
    return F.mish(input.float()).to(input.dtype)


@chapter.reference("npu::npu_mish_backward", source=page_of("npu_mish", beta=True))
def npu_mish_backward(grad: Tensor, input: Tensor) -> Tensor:
    return _backward(F.mish, grad, input).to(input.dtype)


def gelu(x: Tensor, approximate: str) -> Tensor:
    """The Gaussian error linear unit; `approximate` is "none" (erf) or "tanh"."""
    require(
        approximate in ("none", "tanh"),
        f"approximate argument must be either none or tanh, but got {approximate}",
    )
    return F.gelu(x, approximate=approximate)


def _fast_gelu(x: Tensor) -> Tensor:
    return x * torch.sigmoid(1.702 * x)


def _backward(function: Function, grad: Tensor, x: Tensor) -> Tensor:
    """The float32 gradient of an elementwise `function` at `x`."""
    (found,) = vjp(function, (x.float(),), (grad.float(),))
    assert found is not None
    return found
