"""Convolution over places that the input itself moves (arXiv:1811.11168, equation 1).

`offset` is [batch, 3 * groups * height * width of the kernel, ...]: how far each tap moves to the
right, then how far down, then its weight. Strides and dilations are given for all four axes.
"""

import torch
from torch import Tensor

from cordee.emulator.ops.contract import refuse
from cordee.emulator.ops.reference import Chapter, vjp
from cordee.emulator.ops.sources import code_of

chapter = Chapter(source=code_of("aclops/DeformableConv2dKernelNpu.cpp"))


@chapter.reference("npu::npu_deformable_conv2d")
def deformable_conv2d(
    input: Tensor,
    weight: Tensor,
    offset: Tensor,
    bias: Tensor | None,
    kernel_size: list[int],
    stride: list[int],
    padding: list[int],
    dilation: list[int] | int = 1,
    groups: int = 1,
    deformable_groups: int = 1,
    modulated: bool = True,
) -> tuple[Tensor, Tensor]:
    """The result, and the taps it was made of [batch, channels, height * kernel, width * kernel]."""
    refuse("npu_deformable_conv2d", modulated=not modulated)
    steps = (kernel_size, stride, padding, _four(dilation), deformable_groups)
    taps = _taps(input.double(), offset.float(), steps).float()
    own = None if bias is None else bias.float()
    out = torch.nn.functional.conv2d(taps, weight.float(), own, kernel_size, groups=groups)
    return out.to(input.dtype), taps.to(input.dtype)


@chapter.reference("npu::npu_deformable_conv2dbk")
def deformable_conv2d_backward(
    input: Tensor,
    grad_output: Tensor,
    offset_out: Tensor,
    weight: Tensor,
    offset: Tensor,
    kernel_size: list[int],
    stride: list[int],
    padding: list[int],
    dilation: list[int] | int = 1,
    groups: int = 1,
    deformable_groups: int = 1,
    modulated: bool = True,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Gradients of the input, the weight, the offsets and the bias."""
    refuse("npu_deformable_conv2dbk", modulated=not modulated)
    steps = (kernel_size, stride, padding, _four(dilation), deformable_groups)
    grad = grad_output.float()
    of_taps, of_weight = vjp(
        lambda taps, w: torch.nn.functional.conv2d(taps, w, None, kernel_size, groups=groups),
        (offset_out.float(), weight.float()),
        (grad,),
    )
    assert of_taps is not None
    of_input, of_offset = vjp(
        lambda x, moves: _taps(x, moves, steps),
        (input.double(), offset.float()),
        (of_taps.double(),),
    )
    assert of_weight is not None
    assert of_input is not None
    assert of_offset is not None
    return (
        of_input.to(input.dtype),
        of_weight.to(weight.dtype),
        of_offset.to(offset.dtype),
        grad.sum((0, 2, 3)).to(grad_output.dtype),
    )


Steps = tuple[list[int], list[int], list[int], list[int], int]


def _four(dilation: list[int] | int) -> list[int]:
    return [dilation] * 4 if isinstance(dilation, int) else list(dilation)


def _taps(x: Tensor, offset: Tensor, steps: Steps) -> Tensor:
    """What each tap of the kernel sees, the kernel laid out at every place of the result.

    Only the places are float32: the slope of an image is a difference of nearly equal numbers.
    """
    (high, wide), stride, padding, dilation, groups = steps
    batch, channels, height, width = x.shape
    rows, columns = offset.shape[2:]
    moves = offset.reshape(batch, 3, groups, high, wide, rows, columns)
    start_y = torch.arange(rows) * stride[2] - padding[0]
    start_x = torch.arange(columns) * stride[3] - padding[2]
    step_y, step_x = torch.arange(high) * dilation[2], torch.arange(wide) * dilation[3]
    y = (moves[:, 1] + (start_y.reshape(-1, 1) + step_y.reshape(-1, 1, 1, 1))).double()
    at = (moves[:, 0] + (start_x + step_x.reshape(-1, 1, 1))).double()
    flat = x.reshape(batch, groups, channels // groups, height * width)
    value = flat.new_zeros(batch, groups, channels // groups, *y.shape[2:])
    low_y, low_x = y.detach().floor(), at.detach().floor()
    for corner_y in (low_y, low_y + 1):
        for corner_x in (low_x, low_x + 1):
            share = (1 - (y - corner_y).abs()) * (1 - (at - corner_x).abs())
            inside = (corner_y >= 0) & (corner_y < height) & (corner_x >= 0) & (corner_x < width)
            place = corner_y.clamp(0, height - 1) * width + corner_x.clamp(0, width - 1)
            index = place.long().flatten(2).unsqueeze(2).expand(-1, -1, flat.shape[2], -1)
            seen = flat.gather(3, index).reshape(value.shape)
            value = value + seen * (share * inside).unsqueeze(2)
    value = (value * moves[:, 2].unsqueeze(2)).flatten(1, 2)  # [batch, channels, kh, kw, h, w]
    laid_out = value.permute(0, 1, 4, 2, 5, 3)
    return laid_out.reshape(batch, channels, rows * high, columns * wide)
