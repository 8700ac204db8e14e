"""Quantisation with scales found from the values themselves."""

from dataclasses import dataclass

import torch
from torch import Tensor

from cordee.core.errors import NotEmulated
from cordee.emulator.ops.demands import require
from cordee.emulator.ops.formats import Format, format_of
from cordee.emulator.ops.quantisation.scales import rows_to_groups
from cordee.emulator.ops.reference import Chapter
from cordee.emulator.ops.sources import page_of

chapter = Chapter(source=page_of("npu_dynamic_quant"))


@chapter.reference("npu::npu_dynamic_quant")
def npu_dynamic_quant(
    input: Tensor,
    *,
    smooth_scales: Tensor | None = None,
    group_index: Tensor | None = None,
    dst_type: int | None = None,
    quant_mode: str = "pertoken",
    dst_type_max: float = 0.0,
) -> tuple[Tensor, Tensor]:
    _check(input, dst_type)
    written = format_of(dst_type)
    reduced = _Axes.of("npu_dynamic_quant", quant_mode)
    values = _smoothed(input, smooth_scales, group_index, quant_mode)
    scale = reduced.most(values.abs()) / (dst_type_max or written.largest)
    return written.write(values / nonzero(scale)), reduced.dropped(scale)


@chapter.reference(
    "npu::npu_dynamic_quant_asymmetric", source=page_of("npu_dynamic_quant_asymmetric")
)
def npu_dynamic_quant_asymmetric(
    input: Tensor,
    *,
    smooth_scales: Tensor | None = None,
    group_index: Tensor | None = None,
    dst_type: int | None = None,
    quant_mode: str = "pertoken",
    dst_type_max: float = 0.0,
) -> tuple[Tensor, Tensor, Tensor]:
    _check(input, dst_type)
    if dst_type_max:
        raise NotEmulated("npu::npu_dynamic_quant_asymmetric: dst_type_max")
    written = format_of(dst_type)
    reduced = _Axes.of("npu_dynamic_quant_asymmetric", quant_mode)
    values = _smoothed(input, smooth_scales, group_index, quant_mode)
    most, least = reduced.most(values), -reduced.most(-values)
    scale = (most - least) / (written.largest - written.lowest)
    offset = written.largest - most / nonzero(scale)
    y = written.write(values / nonzero(scale) + offset)
    return y, reduced.dropped(scale), reduced.dropped(offset)


def quantised_by_row(
    values: Tensor, written: Format, rounding: str = "rint"
) -> tuple[Tensor, Tensor]:
    """Symmetric quantisation of each row of the last axis: the numbers and one scale a row."""
    scale = values.abs().amax(-1, keepdim=True) / written.largest
    return written.write(values / nonzero(scale), rounding), scale.squeeze(-1)


def in_int8(
    x: Tensor, smooth: Tensor | None, scale: Tensor | None, quant_mode: str | None
) -> tuple[Tensor, Tensor]:
    """`x` [m, k], smoothed, in int8, and what it was divided by: `scale`, or what brings the largest value of each row,
    or of all rows where they have one, to 127.
    """
    values = x.float() if smooth is None else x.float() * smooth.float()
    if scale is None:
        axes = -1 if quant_mode == "pertoken" else (-2, -1)
        divisor = values.abs().amax(axes, keepdim=True) / 127
    else:
        divisor = scale.float().reshape(-1, 1)
    return format_of(None).write(values / nonzero(divisor)), divisor


def nonzero(scale: Tensor) -> Tensor:
    """`scale` as a divisor: a row of zeros divides by one and stays zero."""
    return torch.where(scale == 0, torch.ones_like(scale), scale)


@dataclass(frozen=True, slots=True)
class _Axes:
    """The axes one scale is shared over, and the shape in which scales are given."""

    axes: tuple[int, ...]  # empty: all of them

    @classmethod
    def of(cls, operator: str, quant_mode: str) -> "_Axes":
        modes = {"pertoken": (-1,), "perchannel": (-2,), "pertensor": ()}
        if quant_mode not in modes:
            raise NotEmulated(f"npu::{operator}: quant_mode={quant_mode!r}")
        return cls(modes[quant_mode])

    def most(self, values: Tensor) -> Tensor:
        """The largest value along the axes, which stay with size 1."""
        return values.amax(self.axes or tuple(range(values.dim())), keepdim=True)

    def dropped(self, scale: Tensor) -> Tensor:
        return scale.squeeze(self.axes) if self.axes else scale.reshape(1)


def _check(input: Tensor, dst_type: int | None) -> None:
    require(input.dim() > 1, "Input shape dim should be greater than 1")
    require(
        format_of(dst_type).name != "int4" or input.shape[-1] % 8 == 0,
        "Input shape last dim must be divded by 8 when int4 quantization",
    )


def _smoothed(
    input: Tensor, smooth: Tensor | None, group_index: Tensor | None, quant_mode: str
) -> Tensor:
    values = input.float()
    if smooth is None:
        return values
    if group_index is not None:
        rows = values.flatten(0, -2)
        chosen = smooth.float()[rows_to_groups(group_index, rows.shape[0])]
        return (rows * chosen).reshape(values.shape)
    smooth = smooth.float()
    if quant_mode == "perchannel" and smooth.dim() == 1:
        smooth = smooth.unsqueeze(-1)
    return values * smooth
