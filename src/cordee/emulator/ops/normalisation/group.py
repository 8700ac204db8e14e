"""Group normalisation followed by a swish."""

from collections.abc import Sequence

import torch
from torch import Tensor

from cordee.emulator.ops.contract import unwritten
from cordee.emulator.ops.demands import require
from cordee.emulator.ops.reference import Chapter
from cordee.emulator.ops.sources import page_of

chapter = Chapter(source=page_of("npu_group_norm_swish"))


@chapter.reference("npu::npu_group_norm_silu", source=page_of("npu_group_norm_silu"))
def npu_group_norm_silu(
    input: Tensor, weight: Tensor | None, bias: Tensor | None, group: int, eps: float = 1e-5
) -> tuple[Tensor, Tensor, Tensor]:
    """`input` is (n, c, ...); the mean and 1/std are (n, group)."""
    z, mean, rstd = _group_normalised(input, weight, bias, group, eps)
    dtype = input.dtype
    return (z * torch.sigmoid(z)).to(dtype), mean.to(dtype), rstd.to(dtype)


@chapter.reference("npu::npu_group_norm_swish")
def npu_group_norm_swish(
    input: Tensor,
    num_groups: int,
    weight: Tensor,
    bias: Tensor,
    eps: float | None = 1e-5,
    swish_scale: float | None = 1.0,
) -> tuple[Tensor, Tensor, Tensor]:
    """`input` is (n, c, ...); the mean and 1/std are (n, num_groups)."""
    eps, beta = _or(eps, 1e-5), _or(swish_scale, 1.0)
    z, mean, rstd = _group_normalised(input, weight, bias, num_groups, eps)
    y = z * torch.sigmoid(beta * z)
    return y.to(input.dtype), mean.to(weight.dtype), rstd.to(weight.dtype)


@chapter.reference("npu::npu_group_norm_swish_grad")
def npu_group_norm_swish_grad(
    grad: Tensor,
    input: Tensor,
    num_groups: int,
    weight: Tensor,
    bias: Tensor,
    mean: Tensor,
    rstd: Tensor,
    grad_input_mask: Sequence[bool],
    swish_scale: float | None = 1.0,
) -> tuple[Tensor, Tensor, Tensor]:
    beta = _or(swish_scale, 1.0)
    scale = rstd.float().unsqueeze(-1)
    unit = (_grouped(input, num_groups) - mean.float().unsqueeze(-1)) * scale
    unit = unit.reshape(input.shape)
    z = unit * _by_channel(weight, input) + _by_channel(bias, input)
    gate = torch.sigmoid(beta * z)
    dz = grad.float() * gate * (1 + beta * z * (1 - gate))
    rest = (0, *range(2, input.dim()))
    scaled = _grouped(dz * _by_channel(weight, input), num_groups)
    units = _grouped(unit, num_groups)
    along = (scaled * units).mean(-1, keepdim=True)
    dx = (scaled - scaled.mean(-1, keepdim=True) - units * along) * scale
    return (
        dx.reshape(input.shape).to(input.dtype),
        (dz * unit).sum(rest).to(weight.dtype)
        if grad_input_mask[1]
        else unwritten(weight.shape, weight.dtype),
        dz.sum(rest).to(bias.dtype) if grad_input_mask[2] else unwritten(bias.shape, bias.dtype),
    )


def _group_normalised(
    x: Tensor, weight: Tensor | None, bias: Tensor | None, groups: int, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    parts = _grouped(x, groups)
    mean = parts.mean(-1, keepdim=True)
    rstd = torch.rsqrt((parts - mean).square().mean(-1, keepdim=True) + eps)
    z = ((parts - mean) * rstd).reshape(x.shape)
    if weight is not None:
        z = z * _by_channel(weight, x)
    if bias is not None:
        z = z + _by_channel(bias, x)
    return z, mean.squeeze(-1), rstd.squeeze(-1)


def _grouped(x: Tensor, groups: int) -> Tensor:
    """(n, c, ...) as float32 (n, groups, values)."""
    require(
        x.shape[1] % groups == 0,
        f"{x.shape[1]} channels cannot be divided into {groups} groups",
    )
    return x.float().reshape(x.shape[0], groups, -1)


def _by_channel(factors: Tensor, x: Tensor) -> Tensor:
    return factors.float().reshape(1, -1, *(1 for _ in x.shape[2:]))


def _or(value: float | None, default: float) -> float:
    return default if value is None else value
