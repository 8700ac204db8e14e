"""Batch normalisation over several processes, in the steps between which they talk."""

import torch
from torch import Tensor

from cordee.emulator.ops.demands import require
from cordee.emulator.ops.reference import Chapter
from cordee.emulator.ops.sources import code_of

chapter = Chapter(source="PyTorch torch/nn/modules/_functions.py, class SyncBatchNorm")


@chapter.reference("aten::batch_norm_stats", source=code_of("aclops/BatchNormStatsKernelNpu.cpp"))
def batch_norm_stats(input: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """Mean and 1/std of each channel (C,) of this process, in float32."""
    require(input.dim() >= 2, f"Expected 2D+ Tensor, but got tensor with {input.dim()} Dimension")
    x = _channels_last(input)
    return x.mean(0), torch.rsqrt(x.var(0, unbiased=False) + eps)


@chapter.reference(
    "aten::batch_norm_gather_stats_with_counts",
    source=code_of("aclops/BatchNormGatherStatsWithCountsKernelNpu.cpp"),
)
def batch_norm_gather_stats_with_counts(
    input: Tensor,
    mean: Tensor,
    invstd: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    momentum: float,
    eps: float,
    counts: Tensor,
) -> tuple[Tensor, Tensor]:
    """Mean and 1/std of each channel (C,) over all processes; updates the running statistics.

    `mean` and `invstd` (processes, C) are what `batch_norm_stats` gave, of `counts` elements.
    """
    require(input.dim() > 1, "The dim input tensor [self] must more than 1.")
    count = counts.reshape(-1, 1).double()
    total = count.sum()
    average = (mean.double() * count).sum(0) / total
    within = invstd.double().pow(-2) - eps
    squares = ((within + (mean.double() - average).square()) * count).sum(0)
    _update(running_mean, average, momentum)
    _update(running_var, squares / (total - 1), momentum)
    half = input.dtype == mean.dtype == torch.float16
    dtype = torch.float16 if half else torch.float32
    return average.to(dtype), torch.rsqrt(squares / total + eps).to(dtype)


@chapter.reference(
    "aten::batch_norm_elemt", source=code_of("opapi/BatchNormElemtKernelNpuOpApi.cpp")
)
def batch_norm_elemt(
    input: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    mean: Tensor,
    invstd: Tensor,
    eps: float,
) -> Tensor:
    """The input normalised by `mean` and `invstd` (C,), in its own dtype; `eps` is in `invstd`."""
    y = (input.float() - _over(mean, input)) * _over(invstd, input)
    if weight is not None:
        y = y * _over(weight, input)
    if bias is not None:
        y = y + _over(bias, input)
    return y.to(input.dtype)


@chapter.reference(
    "aten::batch_norm_elemt.out", source=code_of("opapi/BatchNormElemtKernelNpuOpApi.cpp")
)
def batch_norm_elemt_out(
    input: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    mean: Tensor,
    invstd: Tensor,
    eps: float,
    *,
    out: Tensor,
) -> Tensor:
    result = batch_norm_elemt(input, weight, bias, mean, invstd, eps)
    return out.resize_(result.shape).copy_(result)


@chapter.reference(
    "aten::batch_norm_backward_reduce",
    source=code_of("opapi/BatchNormBackwardReduceKernelNpuOpApi.cpp"),
)
def batch_norm_backward_reduce(
    grad_out: Tensor,
    input: Tensor,
    mean: Tensor,
    invstd: Tensor,
    weight: Tensor | None,
    input_g: bool,
    weight_g: bool,
    bias_g: bool,
) -> tuple[Tensor | None, Tensor | None, Tensor | None, Tensor | None]:
    """Sums (C,) of `grad_out`, and of it times `input - mean`; gradients of weight and bias."""
    dtype = torch.float16 if input.dtype == mean.dtype == torch.float16 else torch.float32
    grad = _channels_last(grad_out)
    sum_dy = grad.sum(0)
    sum_dy_xmu = (grad * (_channels_last(input) - mean.float())).sum(0)
    return (
        sum_dy.to(dtype) if input_g else None,
        sum_dy_xmu.to(dtype) if input_g else None,
        (sum_dy_xmu * invstd.float()).to(dtype) if weight_g else None,
        sum_dy.to(dtype) if bias_g else None,
    )


@chapter.reference(
    "aten::batch_norm_backward_elemt", source=code_of("aclops/BatchNormBackwardElemtKernelNpu.cpp")
)
def batch_norm_backward_elemt(
    grad_out: Tensor,
    input: Tensor,
    mean: Tensor,
    invstd: Tensor,
    weight: Tensor | None,
    sum_dy: Tensor,
    sum_dy_xmu: Tensor,
    count: Tensor,
) -> Tensor:
    """The gradient of the input, given the sums over all processes and their `count`s."""
    require(input.dim() > 1, "input.dim() <= 1")
    total = count.sum().float()
    centred = input.float() - _over(mean, input)
    scale = _over(sum_dy_xmu.float() / total * invstd.float().square(), input)
    grad = grad_out.float() - _over(sum_dy.float() / total, input) - centred * scale
    factor = invstd.float() if weight is None else invstd.float() * weight.float()
    return (grad * _over(factor, input)).to(input.dtype)


def _channels_last(x: Tensor) -> Tensor:
    return x.float().movedim(1, -1).reshape(-1, x.shape[1])


def _over(channels: Tensor, x: Tensor) -> Tensor:
    return channels.float().view(-1, *(1,) * (x.dim() - 2))


def _update(running: Tensor | None, now: Tensor, momentum: float) -> None:
    if running is not None:
        running.copy_(momentum * now + (1 - momentum) * running.double())
