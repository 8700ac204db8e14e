"""Gated units whose result is written in blocks of small floats with shared scales."""

import math

import torch
from torch import Tensor

from cordee.core.errors import NotEmulated
from cordee.emulator.ops.activation.gated import clipped_swiglu, swiglu
from cordee.emulator.ops.demands import require
from cordee.emulator.ops.formats import format_of
from cordee.emulator.ops.quantisation.microscaling import Blocks, along_both
from cordee.emulator.ops.reference import Chapter, vjp
from cordee.emulator.ops.sources import code_of

chapter = Chapter(source=code_of("opapi/SwigluMxQuantOpApi.cpp"))


@chapter.reference("npu::npu_swiglu_mx_quant")
def npu_swiglu_mx_quant(
    x: Tensor,
    *,
    group_index: Tensor | None = None,
    activate_dim: int = -1,
    activate_left: bool = False,
    swiglu_mode: int = 0,
    clamp_limit: float = 7.0,
    glu_alpha: float = 1.702,
    glu_bias: float = 1.0,
    group_mode: int = 0,
    axis: int = -1,
    dst_type: int = 296,
    round_mode: str = "rint",
    scale_alg: int = 0,
    max_dtype_value: float = 0.0,
) -> tuple[Tensor, Tensor]:
    require(x.dim() > 1, "x dim should larger than 1")
    require(swiglu_mode in (0, 1), f"swiglu_mode only support 0 or 1, but got {swiglu_mode}")
    for name, value in {"activate_dim": activate_dim, "quant_dim": axis}.items():
        require(
            -x.dim() <= value < x.dim(),
            f"{name} should be in range [0, x.dim()-1]",
        )
    if group_index is not None or group_mode:
        raise NotEmulated("npu::npu_swiglu_mx_quant: group_index")
    values = x.float().movedim(activate_dim, -1)
    if swiglu_mode == 0:
        y = swiglu(values, -1, activate_left)
    else:
        y = clipped_swiglu(values, glu_alpha, clamp_limit, glu_bias, interleaved=True)
    y = y.movedim(-1, activate_dim).to(x.dtype)
    blocks = Blocks(format_of(dst_type), round_mode, scale_alg, max_dtype_value)
    return blocks.quantised(y, axis if axis < 0 else axis - x.dim())


@chapter.reference(
    "npu::npu_swiglu_mx_quant_with_dual_axis",
    source=code_of("opapi/SwigluMxQuantWithDualAxisOpApi.cpp"),
)
def npu_swiglu_mx_quant_with_dual_axis(
    x: Tensor,
    *,
    group_index: Tensor | None = None,
    activate_left: bool = True,
    round_mode: str = "rint",
    scale_alg: int = 1,
    dst_type: int = 24,
    dst_type_max: float = 0.0,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """`group_index` holds the row each group ends before; no block spans two groups."""
    require(x.dim() >= 2, "The input x should be at least 2D")
    require(x.shape[-1] % 2 == 0, "The last dim of input must be divisible by 2")
    y = swiglu(x.float(), -1, activate_left).to(x.dtype)
    blocks = Blocks(format_of(dst_type), round_mode, scale_alg, dst_type_max)
    return _along_both_by_group(y, blocks, group_index)


@chapter.reference(
    "npu::_npu_swiglu_backward_mx_quant_with_dual_axis",
    source=code_of("opapi/SwigluBackwardMxQuantWithDualAxisOpApi.cpp"),
)
def npu_swiglu_backward_mx_quant_with_dual_axis(
    x: Tensor,
    y_grad: Tensor,
    *,
    group_index: Tensor | None = None,
    activate_left: bool = True,
    round_mode: str = "rint",
    scale_alg: int = 1,
    dst_type: int = 24,
    dst_type_max: float = 0.0,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    (grad,) = vjp(lambda t: swiglu(t, -1, activate_left), (x.float(),), (y_grad.float(),))
    assert grad is not None
    blocks = Blocks(format_of(dst_type), round_mode, scale_alg, dst_type_max)
    return _along_both_by_group(grad.to(x.dtype), blocks, group_index)


def _along_both_by_group(
    values: Tensor, blocks: Blocks, ends: Tensor | None
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    if ends is None:
        return along_both(values, blocks)
    y1, scale1 = blocks.quantised(values, -1)
    rows, pair = values.shape[-2], 2 * blocks.size
    y2 = torch.zeros_like(y1)
    shape = (*values.shape[:-2], rows // pair + ends.numel(), values.shape[-1], 2)
    scale2 = torch.zeros(shape, dtype=torch.uint8)
    start = 0
    for group, end in enumerate(ends.tolist()):
        if end > start:
            numbers, scales = blocks.quantised(values[..., start:end, :], -2)
            y2[..., start:end, :] = numbers
            first = start // pair + group
            scale2[..., first : first + math.ceil((end - start) / pair), :, :] = scales
        start = max(start, end)
    return y1, scale1, y2, scale2
