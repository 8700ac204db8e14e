"""Weights packed for the matrix unit, and PyTorch's own quantisers."""

import torch
from torch import Tensor

from cordee.emulator.ops.demands import require
from cordee.emulator.ops.formats import format_named, pack_int4
from cordee.emulator.ops.quantisation.scales import along, written_as
from cordee.emulator.ops.reference import Chapter
from cordee.emulator.ops.sources import code_of

chapter = Chapter(source=code_of("opapi/ConvertWeightToINT4PackKernelNpuOpApi.cpp"))


@chapter.reference("npu::npu_convert_weight_to_int4pack")
def npu_convert_weight_to_int4pack(weight: Tensor, inner_k_tiles: int = 0) -> Tensor:
    """int32 weights as int4, eight to an int32; float32 ones as 4-bit floats in a float32."""
    require(weight.is_contiguous(), "weight should be contiguous")
    require(
        weight.dim() in (2, 3),
        f"weight shape only support dim num 2/3, but it is {weight.dim()}",
    )
    require(
        weight.dtype in (torch.int32, torch.float32),
        f"weight dtype only support int32 and float32, but it is {weight.dtype}",
    )
    require(
        weight.shape[-1] % 8 == 0,
        f"weight last dim should be the multiple of 8, but it is {weight.shape[-1]}",
    )
    if weight.dtype == torch.int32:
        return pack_int4(weight)
    float4 = format_named("float4_e2m1")
    exact = float4.on_grid(weight)
    # A weight that is none of the format's sixteen numbers is packed as zero.
    kept = torch.where(exact == weight, weight, torch.zeros_like(weight))
    return float4.write(kept).view(torch.uint8).view(torch.float32)


@chapter.reference(
    "npu::_quantize_per_channel_impl.out",
    source=code_of("opapi/QuantizePerChannelKernelNpuOpApi.cpp"),
)
def quantize_per_channel(
    inputs: Tensor,
    scales: Tensor,
    zero_points: Tensor,
    axis: int,
    dtype: torch.dtype,
    *,
    result: Tensor,
) -> Tensor:
    whole = torch.round(inputs.float() / along(scales, inputs, axis))
    return _stored(whole + along(zero_points, inputs, axis), dtype, result)


@chapter.reference(
    "npu::_quantize_per_tensor_impl.out",
    source=code_of("opapi/QuantizePerTensorKernelNpuOpApi.cpp"),
)
def quantize_per_tensor(
    inputs: Tensor, scales: Tensor, zero_points: Tensor, dtype: torch.dtype, *, result: Tensor
) -> Tensor:
    whole = torch.round(inputs.float() / scales.float()) + zero_points.float()
    return _stored(whole, dtype, result)


def _stored(whole: Tensor, dtype: torch.dtype, result: Tensor) -> Tensor:
    numbers = written_as(dtype).write(whole)
    if result.is_quantized:
        result = torch.int_repr(result)
    return result.copy_(numbers)
