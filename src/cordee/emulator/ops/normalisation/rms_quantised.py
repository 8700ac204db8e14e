"""RMS normalisation followed by a quantisation of its result."""

import torch
from torch import Tensor

from cordee.core.errors import NotEmulated
from cordee.emulator.ops.contract import unwritten
from cordee.emulator.ops.demands import require
from cordee.emulator.ops.formats import Format, format_of
from cordee.emulator.ops.normalisation.rms import rms_gradients, rms_normalised, summed
from cordee.emulator.ops.quantisation.dynamic import quantised_by_row
from cordee.emulator.ops.quantisation.microscaling import Blocks
from cordee.emulator.ops.reference import Chapter
from cordee.emulator.ops.sources import code_of, page_of

chapter = Chapter(source=page_of("npu_rms_norm_quant"))


@chapter.reference("npu::npu_rms_norm_quant")
def npu_rms_norm_quant(
    x: Tensor,
    gamma: Tensor,
    beta: Tensor,
    scale: Tensor,
    offset: Tensor,
    epsilon: float = 1e-6,
    *,
    dst_dtype: int | None = None,
) -> Tensor:
    """Divides by the one `scale`: the page multiplies, the adapter's tests for it divide."""
    y, _ = rms_normalised(x.float(), gamma.reshape(-1), epsilon)
    return _quantised(y + beta.float().reshape(-1), scale, offset, True, format_of(dst_dtype))


@chapter.reference(
    "npu::npu_rms_norm_quant_v2", source=code_of("opapi/RmsNormQuantKernelOpApiV2.cpp")
)
def npu_rms_norm_quant_v2(
    x: Tensor,
    gamma: Tensor,
    scale: Tensor,
    *,
    offset: Tensor | None = None,
    beta: Tensor | None = None,
    epsilon: float = 1e-6,
    div_mode: bool = True,
    dst_dtype: int | None = None,
) -> tuple[Tensor, Tensor]:
    """The second result, 1/rms, is empty unless `x` requires a gradient."""
    y, rstd = rms_normalised(x.float(), gamma.reshape(-1), epsilon)
    if beta is not None:
        y = y + beta.float().reshape(-1)
    numbers = _quantised(y, scale, offset, div_mode, format_of(dst_dtype))
    return numbers, rstd if x.requires_grad else rstd.new_empty(0)


@chapter.reference("npu::npu_add_rms_norm_quant", source=page_of("npu_add_rms_norm_quant"))
def npu_add_rms_norm_quant(
    x1: Tensor,
    x2: Tensor,
    gamma: Tensor,
    scales1: Tensor,
    zero_points1: Tensor | None,
    beta: Tensor | None = None,
    scales2: Tensor | None = None,
    zero_points2: Tensor | None = None,
    *,
    axis: int = -1,
    epsilon: float = 1e-6,
    div_mode: bool = True,
    dst_type: int | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    require(axis == -1, "axis only support -1.")
    written = format_of(dst_type)
    x = summed(x1, x2)
    y, _ = rms_normalised(x, gamma, epsilon)
    if beta is not None:
        y = y + beta.float()
    y1 = _quantised(y, scales1, zero_points1, div_mode, written)
    if scales2 is None:
        y2 = unwritten(x1.shape, written.storage)
    else:
        y2 = _quantised(y, scales2, zero_points2, div_mode, written)
    return y1, y2, x.to(x1.dtype)


@chapter.reference(
    "npu::npu_add_rms_norm_dynamic_quant", source=page_of("npu_add_rms_norm_dynamic_quant")
)
def npu_add_rms_norm_dynamic_quant(
    x1: Tensor,
    x2: Tensor,
    gamma: Tensor,
    *,
    smooth_scale1: Tensor | None = None,
    smooth_scale2: Tensor | None = None,
    beta: Tensor | None = None,
    epsilon: float = 1e-6,
    output_mask: list[bool] | None = None,
    y_dtype: int | None = None,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    require(
        output_mask is None or any(output_mask),
        "When the output_mask is not empty, at least one of y1 and y2 must be output. ",
    )
    for name, addend in {"x1": x1, "x2": x2}.items():
        require(2 <= addend.dim() <= 8, f"The {name} should be in 2~8D")
    require(x1.shape == x2.shape, "The shape of x1 and x2 must be the same")
    written = format_of(y_dtype)
    require(
        written.name != "int4" or x1.shape[-1] % 8 == 0,
        (
            "The last dim input shape must be divisible by 8 if y dtype is torch_npu.int4 "
            "or torch.quint4x2"
        ),
    )
    x = summed(x1, x2)
    y, _ = rms_normalised(x, gamma, epsilon)
    if beta is not None:
        y = y + beta.float()
    smoothing = (smooth_scale1, smooth_scale2)
    wanted = output_mask or [True, None not in smoothing]
    (y1, scale1), (y2, scale2) = (
        _dynamically(y, smooth, written) if given else _left_out(written)
        for smooth, given in zip(smoothing, wanted, strict=True)
    )
    return y1, y2, x.to(x1.dtype), scale1, scale2


@chapter.reference(
    "npu::npu_rms_norm_dynamic_mx_quant",
    source=code_of("opapi/RmsNormDynamicMxQuantKernelNpuOpApi.cpp"),
)
def npu_rms_norm_dynamic_mx_quant(
    x: Tensor,
    gamma: Tensor,
    *,
    beta: Tensor | None = None,
    epsilon: float = 1e-6,
    scale_alg: int = 0,
    round_mode: str = "rint",
    dst_type: int = 296,
) -> tuple[Tensor, Tensor, Tensor]:
    """The last result, 1/rms, is empty unless `x` requires a gradient."""
    require(1 <= x.dim() <= 7, "The x should be in 1~7D")
    y, rstd = rms_normalised(x.float(), gamma, epsilon)
    if beta is not None:
        y = y + beta.float()
    numbers, scales = Blocks(format_of(dst_type), round_mode, scale_alg).quantised(y.to(x.dtype))
    return numbers, scales, rstd if x.requires_grad else rstd.new_empty(0)


@chapter.reference(
    "npu::npu_add_rms_norm_dynamic_mx_quant",
    source=code_of("opapi/AddRmsNormDynamicMxQuantKernelNpuOpApi.cpp"),
)
def npu_add_rms_norm_dynamic_mx_quant(
    x1: Tensor,
    x2: Tensor,
    gamma: Tensor,
    *,
    beta: Tensor | None = None,
    epsilon: float = 1e-6,
    scale_alg: int = 0,
    round_mode: str = "rint",
    dst_type: int = 296,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The last result, 1/rms, is empty unless an addend requires a gradient."""
    x = summed(x1, x2)
    y, rstd = rms_normalised(x, gamma, epsilon)
    if beta is not None:
        y = y + beta.float()
    blocks = Blocks(format_of(dst_type), round_mode, scale_alg)
    numbers, scales = blocks.quantised(y.to(x1.dtype))
    kept = x1.requires_grad or x2.requires_grad
    return numbers, x.to(x1.dtype), scales, rstd if kept else rstd.new_empty(0)


@chapter.reference(
    "npu::_npu_rms_norm_backward_quant",
    source=code_of("opapi/_RmsNormBackwardQuantKernelNpuOpApi.cpp"),
)
def npu_rms_norm_backward_quant(
    dy: Tensor,
    x: Tensor,
    rstd: Tensor,
    gamma: Tensor,
    scale_x: Tensor,
    *,
    offset_x: Tensor | None = None,
    div_mode: bool | None = True,
    quant_mode: str = "static",
    dst_type: int | None = 1,
) -> tuple[Tensor, Tensor]:
    if quant_mode != "static":
        raise NotEmulated(f"npu::_npu_rms_norm_backward_quant: quant_mode={quant_mode!r}")
    dx, dgamma = rms_gradients(dy, x, gamma, rstd)
    # The gradient is rounded to the dtype of x first, as the unfused pair would.
    dx = dx.to(x.dtype).float()
    divided = div_mode is not False
    return _quantised(dx, scale_x, offset_x, divided, format_of(dst_type)), dgamma


def _quantised(
    y: Tensor, scale: Tensor, offset: Tensor | None, divided: bool, written: Format
) -> Tensor:
    y = y / scale.float() if divided else y * scale.float()
    return written.write(y if offset is None else y + offset.float())


def _dynamically(y: Tensor, smooth: Tensor | None, written: Format) -> tuple[Tensor, Tensor]:
    return quantised_by_row(y if smooth is None else y * smooth.float(), written)


def _left_out(written: Format) -> tuple[Tensor, Tensor]:
    """A quantisation that was not asked for comes back as two scalars nothing has written."""
    return unwritten((), written.storage), unwritten((), torch.float32)
