"""Quantisation with one scale per rectangle of values, or per rotated row."""

import math

import torch
from torch import Tensor

from cordee.core.errors import NotEmulated
from cordee.emulator.ops.contract import refuse
from cordee.emulator.ops.demands import require
from cordee.emulator.ops.formats import format_of
from cordee.emulator.ops.quantisation.dynamic import nonzero, quantised_by_row
from cordee.emulator.ops.quantisation.microscaling import BLOCK, Blocks
from cordee.emulator.ops.reference import Chapter
from cordee.emulator.ops.sources import code_of, page_of, test_of

chapter = Chapter(source=page_of("npu_dynamic_block_quant"))


@chapter.reference("npu::npu_dynamic_block_quant")
def npu_dynamic_block_quant(
    x: Tensor,
    *,
    min_scale: float = 0.0,
    round_mode: str = "rint",
    dst_type: int = 1,
    row_block_size: int = 1,
    col_block_size: int = 128,
    dst_type_max: float = 0.0,
) -> tuple[Tensor, Tensor]:
    require(x.dim() in (2, 3), "x must be 2 or 3 dimensional.")
    written = format_of(dst_type)
    rows, columns = x.shape[-2:]
    padding = (0, -columns % col_block_size, 0, -rows % row_block_size)
    blocks = torch.nn.functional.pad(x.float(), padding)
    blocks = torch.unflatten(blocks, -1, (-1, col_block_size))
    blocks = torch.unflatten(blocks, -3, (-1, row_block_size))
    scale = blocks.abs().amax((-3, -1)) / (dst_type_max or written.largest)
    scale = scale.clamp(min=min_scale)
    spread = scale.repeat_interleave(row_block_size, -2).repeat_interleave(col_block_size, -1)
    divisor = nonzero(spread[..., :rows, :columns])
    return written.write(x.float() / divisor, round_mode), scale


@chapter.reference("npu::npu_rotate_quant", source=page_of("npu_rotate_quant"))
def npu_rotate_quant(
    x: Tensor,
    rotation: Tensor,
    *,
    alpha: Tensor | None = None,
    dst_dtype: int | None = None,
    axis: int | None = -1,
    round_mode: str | None = "rint",
    scale_alg: int | None = 0,
    dst_type_max: float | None = 0.0,
    transpose_y: bool | None = False,
) -> tuple[Tensor, Tensor]:
    """`rotation` (k, k) turns each run of k columns of `x`, or run i by `rotation[i]`."""
    require(
        not transpose_y,
        (
            "In the current CANN version, for aclnnRotateQuant, the parameter transpose_y "
            "only supports False. Please set transpose_y=False."
        ),
    )
    axis = -1 if axis is None else axis
    require(-x.dim() <= axis < x.dim(), "Param (axis) is out of input dimension range")
    written, rounding = format_of(dst_dtype), round_mode or "rint"
    runs = torch.unflatten(x.float(), -1, (-1, 1, rotation.shape[-1]))
    turned = (runs @ rotation.float()).flatten(-3).to(x.dtype).float()
    if written.kind == "integer":
        refuse("npu::npu_rotate_quant", alpha=alpha)
        return quantised_by_row(turned, written, rounding)
    if alpha is not None and alpha.numel() and 0 < float(alpha.flatten()[0]) < 1:
        turned = _limited(turned, float(alpha.flatten()[0]))
    blocks = Blocks(written, rounding, scale_alg or 0, dst_type_max or 0.0)
    numbers, codes = blocks.quantised(turned, axis if axis < 0 else axis - x.dim())
    return numbers, codes.view(torch.float8_e8m0fnu)


@chapter.reference(
    "npu::npu_kronecker_quant", source=test_of("test_custom_ops/test_npu_kronecker_quant.py")
)
def npu_kronecker_quant(
    x: Tensor,
    kronecker_p1: Tensor,
    kronecker_p2: Tensor,
    clip_ratio: float | None = None,
    dst_dtype: int | None = None,
    dst_type_max: float | None = None,
) -> tuple[Tensor, Tensor]:
    """p1 @ x @ p2 for each (m, n) of `x`, in int4 under one scale, eight to an int32."""
    refuse("npu::npu_kronecker_quant", dst_type_max=dst_type_max or None)
    written = format_of(dst_dtype, "int4")
    if dst_dtype is not None and written.name not in ("int4", "int32"):
        raise NotEmulated(f"npu::npu_kronecker_quant: dst_dtype={dst_dtype}")
    written = format_of(None, "int4")
    first = (x.float() @ kronecker_p2.float()).to(x.dtype)
    turned = (kronecker_p1.float() @ first.float()).to(x.dtype).float()
    largest = written.largest * (1.0 if clip_ratio is None else clip_ratio)
    scale = turned.abs().amax((-2, -1)) / largest
    return written.write(turned / nonzero(scale)[:, None, None]), scale


@chapter.reference("npu::npu_quant_max", source=code_of("opapi/QuantMaxKernelNpuOpApi.cpp"))
def npu_quant_max(
    x: Tensor,
    scale: Tensor,
    *,
    round_mode: str = "rint",
    dst_dtype: int = 291,
    group_list: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """`x` over `scale`, and the largest magnitude in `x`; of each group of rows, if grouped."""
    written = format_of(dst_dtype)
    if group_list is None or group_list.numel() <= 1:
        return written.write(x.float() / scale.float(), round_mode), x.abs().amax().reshape(1)
    y, most, start = torch.zeros_like(x, dtype=torch.float32), [], 0
    for group, end in enumerate(group_list.tolist()):
        part = x[start:end]
        y[start:end] = part.float() / scale[group].float()
        most.append(part.abs().amax() if part.numel() else x.new_zeros(()))
        start = end
    return written.write(y, round_mode), torch.stack(most)


@chapter.reference("npu::npu_ifmr", source=test_of("test_base_ops/test_ifmr.py"))
def npu_ifmr(
    data: Tensor,
    data_min: Tensor,
    data_max: Tensor,
    cumsum: Tensor,
    min_percentile: float,
    max_percentile: float,
    search_start: float,
    search_end: float,
    search_step: float,
    with_offset: bool,
) -> tuple[Tensor, Tensor]:
    """The int8 scale and offset of least squared error, searched around the percentiles.

    `cumsum` counts the values up to the end of each bin of a histogram of `data`.
    """
    fraction = cumsum.double() / data.numel()
    bins, least, span = cumsum.numel(), data_min.double(), (data_max - data_min).double()
    top = (fraction < max_percentile).sum() / bins * span + least
    bottom = (fraction < 1 - min_percentile).sum() / bins * span + least
    steps = math.ceil((search_end - search_start) / search_step - 1e-6)
    factors = search_start + search_step * torch.arange(steps, dtype=torch.float64)
    if with_offset:
        top, bottom = top.clamp(min=0), bottom.clamp(max=0)
        scales = (top * factors - bottom) / 255
        scales = torch.where(scales < torch.finfo(torch.float32).eps, 1.0, scales)
        offsets = -(torch.round(bottom / scales) + 128)
    else:
        scales = torch.maximum(top.abs(), bottom.abs()) * factors / 127
        offsets = torch.zeros_like(scales)
    values = data.double().flatten()
    loss = []
    for scale, offset in zip(scales, offsets, strict=True):
        whole = (torch.round(values / scale) + offset).clamp(-128, 127)
        loss.append(((whole - offset) * scale - values).square().sum())
    best = int(torch.stack(loss).argmin())
    shape, dtype = data_min.shape, data_min.dtype
    return scales[best].reshape(shape).to(dtype), offsets[best].reshape(shape).to(dtype)


def _limited(values: Tensor, alpha: float) -> Tensor:
    """Values clamped to `alpha` of the largest magnitude in their run of 32."""
    runs = torch.unflatten(values, -1, (-1, BLOCK))
    limit = alpha * runs.abs().amax(-1, keepdim=True)
    return torch.minimum(torch.maximum(runs, -limit), limit).flatten(-2)
