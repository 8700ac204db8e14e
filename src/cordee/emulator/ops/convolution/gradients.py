"""Backwards of convolutions: gradients of the input, the weight and the bias, as asked for."""

import torch
from torch import Tensor

from cordee.emulator.ops.reference import Chapter
from cordee.emulator.ops.sources import code_of

chapter = Chapter(source=code_of("aclops/ConvolutionKernelNpu.cpp"))

Gradients = tuple[Tensor | None, Tensor | None, Tensor | None]


@chapter.reference("npu::npu_conv2d_backward", "npu::npu_convolution_backward")
def convolution_backward(
    input: Tensor,
    grad_output: Tensor,
    weight: Tensor,
    stride: list[int],
    padding: list[int],
    dilation: list[int],
    groups: int,
    output_mask: list[bool],
) -> Gradients:
    """Gradients of a convolution."""
    shape = (stride, padding[: len(stride)], dilation, False, [0] * len(stride), groups)
    return _gradients(input, grad_output, weight, shape, output_mask)


@chapter.reference("npu::npu_conv3d_backward", source=code_of("aclops/Conv3dBackwardKernelNpu.cpp"))
def conv3d_backward(
    input: Tensor,
    grad: Tensor,
    weight: Tensor,
    stride: list[int],
    padding: list[int],
    dilation: list[int],
    groups: int,
    output_mask: list[bool],
) -> Gradients:
    """Gradients of a convolution of three axes."""
    shape = (stride, padding[: len(stride)], dilation, False, [0] * len(stride), groups)
    return _gradients(input, grad, weight, shape, output_mask)


@chapter.reference(
    "npu::npu_conv_transpose2d_backward",
    "npu::npu_conv_transpose3d_backward",
    source=code_of("aclops/ConvTranspose2dBackwardKernelNpu.cpp"),
)
def conv_transpose_backward(
    input: Tensor,
    grad_output: Tensor,
    weight: Tensor,
    padding: list[int],
    output_padding: list[int],
    stride: list[int],
    dilation: list[int],
    groups: int,
    output_mask: list[bool],
) -> Gradients:
    """Gradients of a transposed convolution."""
    shape = (stride, padding, dilation, True, output_padding, groups)
    return _gradients(input, grad_output, weight, shape, output_mask)


@chapter.reference("npu::npu_convolution_transpose_backward")
def convolution_transpose_backward(
    input: Tensor,
    grad: Tensor,
    weight: Tensor,
    padding: list[int],
    output_padding: list[int],
    stride: list[int],
    dilation: list[int],
    groups: int,
    grad_input_mask: list[bool],
) -> Gradients:
    """Gradients of a transposed convolution."""
    shape = (stride, padding, dilation, True, output_padding, groups)
    return _gradients(input, grad, weight, shape, grad_input_mask)


@chapter.reference(
    "npu::_conv_depthwise2d_backward", source=code_of("aclops/ConvDepthwise2dBackwardKernelNpu.cpp")
)
def conv_depthwise2d_backward(
    grad_output: Tensor,
    input: Tensor,
    weight: Tensor,
    kernel_size: list[int],
    stride: list[int],
    padding: list[int],
    dilation: list[int],
    output_mask: list[bool],
) -> tuple[Tensor | None, Tensor | None]:
    """Gradients of a convolution of each channel by itself, which has no bias here."""
    shape = (stride, padding, dilation, False, [0, 0], input.shape[1])
    of_input, of_weight, _ = _gradients(input, grad_output, weight, shape, [*output_mask, False])
    return of_input, of_weight


@chapter.reference(
    "npu::slow_conv_dilated2d_backward",
    source=code_of("aclops/SlowConvDilated2dBackwardKernelNpu.cpp"),
)
def slow_conv_dilated2d_backward(
    grad_output: Tensor,
    input: Tensor,
    weight: Tensor,
    kernel_size: list[int],
    stride: list[int],
    padding: list[int],
    dilation: list[int],
    output_mask: list[bool],
) -> Gradients:
    """Gradients of a dilated convolution."""
    shape = (stride, padding, dilation, False, [0, 0], 1)
    return _gradients(input, grad_output, weight, shape, output_mask)


@chapter.reference(
    "npu::slow_conv_transpose2d_backward",
    source=code_of("aclops/SlowConvTranspose2dBackwardKernelNpu.cpp"),
)
def slow_conv_transpose2d_backward(
    grad_output: Tensor,
    input: Tensor,
    weight: Tensor,
    kernel_size: list[int],
    stride: list[int],
    padding: list[int],
    output_padding: list[int],
    dilation: list[int],
    output_mask: list[bool],
) -> Gradients:
    """Gradients of a transposed convolution."""
    shape = (stride, padding, dilation, True, output_padding, 1)
    return _gradients(input, grad_output, weight, shape, output_mask)


Shape = tuple[list[int], list[int], list[int], bool, list[int], int]


def _gradients(
    input: Tensor, grad: Tensor, weight: Tensor, shape: Shape, wanted: list[bool]
) -> Gradients:
    _, _, _, transposed, _, groups = shape
    channels = weight.shape[1] * groups if transposed else weight.shape[0]
    found = torch.ops.aten.convolution_backward(
        grad.float(), input.float(), weight.float(), [channels], *shape, list(wanted)
    )
    kinds = (input.dtype, weight.dtype, grad.dtype)
    of_input, of_weight, of_bias = (
        None if gradient is None else gradient.to(kind)
        for gradient, kind in zip(found, kinds, strict=True)
    )
    return of_input, of_weight, of_bias
