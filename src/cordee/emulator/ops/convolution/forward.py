"""Convolutions and transposed convolutions of any number of axes."""

import torch
from torch import Tensor

from cordee.core.errors import NotEmulated
from cordee.emulator.ops.contract import refuse
from cordee.emulator.ops.formats import format_of
from cordee.emulator.ops.quantisation.scales import scale_values
from cordee.emulator.ops.reference import Chapter
from cordee.emulator.ops.sources import code_of

chapter = Chapter(source=code_of("aclops/ConvolutionKernelNpu.cpp"))


@chapter.reference("npu::npu_conv2d", "npu::npu_conv3d", "npu::npu_convolution")
def convolution(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: list[int],
    padding: list[int],
    dilation: list[int],
    groups: int,
) -> Tensor:
    """`input` [batch, channels, ...] convolved by `weight` [out, channels / groups, ...].

    What `padding` holds after one number for each axis is not read.
    """
    shape = (stride, padding[: len(stride)], dilation, False, [0] * len(stride), groups)
    return _rounded(input, weight, bias, shape)


@chapter.reference("npu::npu_conv2d.out", "npu::npu_conv3d.out")
def convolution_out(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: list[int],
    padding: list[int],
    dilation: list[int],
    groups: int,
    *,
    out: Tensor,
) -> Tensor:
    """`convolution` into `out`."""
    return out.copy_(convolution(input, weight, bias, stride, padding, dilation, groups))


@chapter.reference("npu::npu_conv_transpose2d", "npu::npu_convolution_transpose")
def convolution_transpose(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    padding: list[int],
    output_padding: list[int],
    stride: list[int],
    dilation: list[int],
    groups: int,
) -> Tensor:
    """The transposed convolution of `input` by `weight` [channels, out / groups, ...]."""
    return _rounded(input, weight, bias, (stride, padding, dilation, True, output_padding, groups))


@chapter.reference("npu::npu_quant_conv2d", source=code_of("opapi/QuantConv2DKernelNpuOpApi.cpp"))
def quant_conv2d(
    input: Tensor,
    weight: Tensor,
    scale: Tensor,
    strides: list[int] | int = 1,
    pads: list[int] | int = 0,
    dilations: list[int] | int = 1,
    groups: int = 1,
    offset_x: int = 0,
    round_mode: str = "rint",
    output_dtype: int | None = None,
    bias: Tensor | None = None,
    offset: Tensor | None = None,
    input_dtype: int | None = None,
    weight_dtype: int | None = None,
) -> Tensor:
    """The exact convolution of int8, scaled for each channel of the result."""
    refuse(
        "npu_quant_conv2d",
        offset_x=offset_x != 0,
        offset=offset,
        input_dtype=input_dtype,
        weight_dtype=weight_dtype,
    )
    if input.dtype != torch.int8 or weight.dtype != torch.int8:
        raise NotEmulated(f"npu_quant_conv2d: {input.dtype} and {weight.dtype} are not emulated")
    whole = torch.nn.functional.conv2d(
        input.double(), weight.double(), None, strides, pads, dilations, groups
    )
    if bias is not None:
        whole = whole + bias.double().reshape(1, -1, 1, 1)
    scaled = whole.float() * scale_values(scale).reshape(1, -1, 1, 1)
    return scaled.to(format_of(output_dtype, "float16").storage)


Shape = tuple[list[int], list[int], list[int], bool, list[int], int]


def _rounded(input: Tensor, weight: Tensor, bias: Tensor | None, shape: Shape) -> Tensor:
    own = None if bias is None else bias.float()
    return torch.convolution(input.float(), weight.float(), own, *shape).to(input.dtype)
