"""Dequantisation of int32 products, with a bias."""

import torch
from torch import Tensor

from cordee.emulator.ops.demands import require
from cordee.emulator.ops.reference import Chapter
from cordee.emulator.ops.sources import code_of

chapter = Chapter(source=code_of("opapi/DequantBiasNpuOpApi.cpp"))


@chapter.reference("npu::npu_dequant_bias")
def npu_dequant_bias(
    x: Tensor,
    weight_scale: Tensor,
    activation_scale: Tensor | None,
    bias: Tensor | None,
    *,
    output_dtype: torch.dtype | None = None,
) -> Tensor:
    """`x` (m, n) int32 times a scale per column and one per row, as float16 or bfloat16."""
    dtype = output_dtype or torch.float16
    require(
        dtype in (torch.float16, torch.bfloat16),
        "The dtype should be half or bfloat16",
    )
    return dequantised(x, weight_scale, activation_scale, bias).to(dtype)


def dequantised(
    x: Tensor, weight_scale: Tensor | None, activation_scale: Tensor | None, bias: Tensor | None
) -> Tensor:
    """int32 `x` in float32: an int32 bias joins before the scales, a float bias after."""
    y = x.double()
    if bias is not None and bias.dtype == torch.int32:
        y = y + bias
    y = y.float()
    if weight_scale is not None:
        y = y * weight_scale.float()
    if activation_scale is not None:
        y = y * activation_scale.float().reshape(*y.shape[:-1], 1)
    if bias is not None and bias.dtype != torch.int32:
        y = y + bias.float()
    return y
