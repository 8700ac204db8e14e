"""RMS normalisation, alone and fused with the addition that precedes it."""

import torch
from torch import Tensor

from cordee.emulator.ops.demands import require
from cordee.emulator.ops.reference import Chapter
from cordee.emulator.ops.sources import page_of, test_of

chapter = Chapter(source=page_of("npu_rms_norm", beta=True))
added = Chapter(source=page_of("npu_add_rms_norm"))


@chapter.reference("npu::npu_rms_norm")
def npu_rms_norm(input: Tensor, gamma: Tensor, epsilon: float = 1e-6) -> tuple[Tensor, Tensor]:
    y, rstd = rms_normalised(input.float(), gamma, epsilon)
    return y.to(input.dtype), rstd


@chapter.reference("npu::npu_rms_norm_backward")
def npu_rms_norm_backward(
    dy: Tensor, input: Tensor, gamma: Tensor, rstd: Tensor
) -> tuple[Tensor, Tensor]:
    dx, dgamma = rms_gradients(dy, input, gamma, rstd)
    return dx.to(input.dtype), dgamma


@chapter.reference(
    "npu::npu_gemma_rms_norm", source=test_of("test_custom_ops/test_npu_gemma_rms_norm.py")
)
def npu_gemma_rms_norm(
    input: Tensor, gamma: Tensor, epsilon: float = 1e-6
) -> tuple[Tensor, Tensor]:
    y, rstd = rms_normalised(input.float(), gamma.float() + 1, epsilon)
    return y.to(input.dtype), rstd


@added.reference("npu::npu_add_rms_norm")
def npu_add_rms_norm(
    x1: Tensor, x2: Tensor, gamma: Tensor, epsilon: float = 1e-6
) -> tuple[Tensor, Tensor, Tensor]:
    x = summed(x1, x2)
    y, rstd = rms_normalised(x, gamma, epsilon)
    return y.to(x1.dtype), rstd, x.to(x1.dtype, copy=True)


@added.reference("npu::npu_add_rms_norm_cast")
def npu_add_rms_norm_cast(
    x1: Tensor, x2: Tensor, gamma: Tensor, epsilon: float = 1e-6
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    x = summed(x1, x2)
    y, rstd = rms_normalised(x, gamma, epsilon)
    return y, y.to(x1.dtype, copy=True), rstd, x.to(x1.dtype)


@added.reference("npu::npu_add_rms_norm_v2_functional")
def npu_add_rms_norm_v2_functional(
    x1: Tensor, x2: Tensor, gamma: Tensor, epsilon: float = 1e-6
) -> tuple[Tensor, Tensor, Tensor]:
    y, rstd, x = npu_add_rms_norm(x1, x2, gamma, epsilon)
    return rstd, y, x


@added.reference("npu::npu_add_rms_norm_v2")
def npu_add_rms_norm_v2(x1: Tensor, x2: Tensor, gamma: Tensor, epsilon: float = 1e-6) -> Tensor:
    """Leaves the normalised sum in `x1` and the sum in `x2`; gives 1/rms."""
    x = summed(x1, x2)
    y, rstd = rms_normalised(x, gamma, epsilon)
    x1.copy_(y)
    x2.copy_(x)
    return rstd


def summed(x1: Tensor, x2: Tensor) -> Tensor:
    """The sum an RMS norm reads, in float32.

    Two float16 addends are added in float16 on the device, so their sum is rounded first
    (op-plugin test/test_custom_ops/test_npu_add_rms_norm.py).
    """
    x = x1.float() + x2.float()
    return x.half().float() if x1.dtype == torch.float16 else x


def rms_normalised(x: Tensor, gamma: Tensor, epsilon: float) -> tuple[Tensor, Tensor]:
    """`x` over its root mean square, times `gamma`, and 1/rms; over the axes of `gamma`."""
    require(x.dim() >= gamma.dim(), "The gamma shape should not be bigger than self shape.")
    axes = tuple(range(-gamma.dim(), 0))
    rstd = torch.rsqrt(x.square().mean(axes, keepdim=True) + epsilon)
    return x * rstd * gamma.float(), rstd


def rms_gradients(dy: Tensor, x: Tensor, gamma: Tensor, rstd: Tensor) -> tuple[Tensor, Tensor]:
    """Gradients of an RMS norm for its input and `gamma`, both float32, from its saved 1/rms."""
    axes = tuple(range(-gamma.dim(), 0))
    rest = tuple(range(x.dim() - gamma.dim()))
    rstd = rstd.reshape(x.shape[: x.dim() - gamma.dim()] + (1,) * gamma.dim())
    g, x = dy.float(), x.float()
    unit = x * rstd
    scaled = g * gamma.float()
    dx = rstd * (scaled - unit * (scaled * unit).mean(axes, keepdim=True))
    dgamma = g * unit
    return dx, dgamma.sum(rest) if rest else dgamma
