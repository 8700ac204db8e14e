"""Layer normalisation: after an addition, deep, for inference, and their backwards."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from cordee.emulator.ops.contract import unwritten
from cordee.emulator.ops.reference import Chapter
from cordee.emulator.ops.sources import code_of, page_of

chapter = Chapter(source=code_of("opapi/AddLayerNormKernelNpuOpApi.cpp"))


@chapter.reference("npu::npu_add_layer_norm")
def npu_add_layer_norm(
    x1: Tensor,
    x2: Tensor,
    gamma: Tensor,
    beta: Tensor,
    epsilon: float = 1e-5,
    additional_output: bool = False,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The norm of x1 + x2, the mean, 1/std, and with `additional_output` the sum."""
    dtype = x1.dtype if x1.dtype == x2.dtype else torch.float32
    x = x1.float() + x2.float()
    y, mean, rstd = layer_normalised(x, gamma, beta, epsilon)
    lead = (*x1.shape[: x1.dim() - gamma.dim()], 1)
    total = x.to(dtype) if additional_output else unwritten(x1.shape, dtype)
    return y.to(dtype), mean.reshape(lead), rstd.reshape(lead), total


@chapter.reference(
    "npu::npu_add_layer_norm_backward",
    source=code_of("opapi/AddLayerNormBackwardKernelNpuOpApi.cpp"),
)
def npu_add_layer_norm_backward(
    dy_opt: Tensor | None,
    x1: Tensor,
    x2: Tensor,
    rstd: Tensor,
    mean: Tensor,
    gamma: Tensor,
    dsum_opt: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The gradient of either addend, twice, and those of gamma and beta in float32."""
    x = x1.float() + x2.float()
    dy = torch.zeros_like(x) if dy_opt is None else dy_opt.float()
    dx, dgamma, dbeta = layer_gradients(dy, x, gamma, mean, rstd)
    if dsum_opt is not None:
        dx = dx + dsum_opt.float()
    dx = dx.to(x1.dtype)
    return dx, dx.clone(), dgamma, dbeta


@chapter.reference("npu::npu_deep_norm", source=code_of("opapi/DeepNormKernelOpApi.cpp"))
def npu_deep_norm(
    x: Tensor,
    gx: Tensor,
    beta: Tensor,
    gamma: Tensor,
    alpha: float = 0.3,
    epsilon: float = 1e-6,
) -> tuple[Tensor, Tensor, Tensor]:
    """The mean, 1/std and norm of alpha * x + gx."""
    y, mean, rstd = layer_normalised(alpha * x.float() + gx.float(), gamma, beta, epsilon)
    return mean, rstd, y.to(x.dtype)


@chapter.reference(
    "npu::npu_deep_norm_backward", source=code_of("opapi/DeepNormBackwardKernelOpApi.cpp")
)
def npu_deep_norm_backward(
    dy: Tensor,
    x: Tensor,
    gx: Tensor,
    gamma: Tensor,
    mean: Tensor,
    rstd: Tensor,
    alpha: float = 0.3,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The gradients of x, gx, beta and gamma, the last two in float32."""
    total = alpha * x.float() + gx.float()
    dgx, dgamma, dbeta = layer_gradients(dy.float(), total, gamma, mean, rstd)
    return (alpha * dgx).to(x.dtype), dgx.to(gx.dtype, copy=True), dbeta, dgamma


@chapter.reference("npu::npu_layer_norm_eval", source=page_of("npu_layer_norm_eval", beta=True))
def npu_layer_norm_eval(
    input: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    shape = tuple(normalized_shape)
    scale, shift = (None if t is None else t.float().reshape(shape) for t in (weight, bias))
    return F.layer_norm(input.float(), shape, scale, shift, eps).to(input.dtype)


@chapter.reference(
    "npu::npu_layernorm_grad", source=code_of("aclops/LayerNormBackwardKernelNpu.cpp")
)
def npu_layernorm_grad(
    grad_out: Tensor,
    input: Tensor,
    normalized_shape: Sequence[int],
    mean: Tensor,
    rstd: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor]:
    shape = tuple(normalized_shape)
    gamma = input.new_ones(shape) if weight is None else weight.reshape(shape)
    dx, dgamma, dbeta = layer_gradients(grad_out.float(), input.float(), gamma, mean, rstd)
    dtype = gamma.dtype
    return dx.to(input.dtype), dgamma.to(dtype), dbeta.to(dtype)


def layer_normalised(
    x: Tensor, gamma: Tensor, beta: Tensor, epsilon: float
) -> tuple[Tensor, Tensor, Tensor]:
    """The float32 layer norm over the axes of `gamma`, its mean and 1/std (those axes 1)."""
    axes = tuple(range(-gamma.dim(), 0))
    mean = x.mean(axes, keepdim=True)
    rstd = torch.rsqrt((x - mean).square().mean(axes, keepdim=True) + epsilon)
    return (x - mean) * rstd * gamma.float() + beta.float(), mean, rstd


def layer_gradients(
    dy: Tensor, x: Tensor, gamma: Tensor, mean: Tensor, rstd: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """float32 gradients of a layer norm for its input, gamma and beta, from its saved statistics."""
    axes = tuple(range(-gamma.dim(), 0))
    rest = tuple(range(x.dim() - gamma.dim()))
    lead = (*x.shape[: x.dim() - gamma.dim()], *(1 for _ in axes))
    unit = (x - mean.float().reshape(lead)) * rstd.float().reshape(lead)
    scaled = dy * gamma.float()
    along = (scaled * unit).mean(axes, keepdim=True)
    dx = (scaled - scaled.mean(axes, keepdim=True) - unit * along) * rstd.float().reshape(lead)
    dgamma = dy * unit
    if not rest:
        return dx, dgamma, dy.clone()
    return dx, dgamma.sum(rest), dy.sum(rest)
