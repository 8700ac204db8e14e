"""Quantisation with given scales and offsets, and back."""

import torch
from torch import Tensor

from cordee.core.errors import NotEmulated
from cordee.emulator.ops.demands import require
from cordee.emulator.ops.formats import Format, format_named, format_of, unpack_int4
from cordee.emulator.ops.reference import Chapter
from cordee.emulator.ops.sources import page_of

chapter = Chapter(source=page_of("npu_quantize"))

PACKED = (torch.int64, torch.uint64)
"""Dtypes of scales that are given as their bits."""


@chapter.reference("npu::npu_quantize")
def npu_quantize(
    input: Tensor,
    scales: Tensor,
    zero_points: Tensor | None,
    dtype: int,
    axis: int = 1,
    div_mode: bool = True,
) -> Tensor:
    if not div_mode:
        return _multiplied(input, scales, zero_points, dtype, -2 if axis == -2 else -1)
    written = format_of(dtype)
    require(
        written.name in ("int8", "uint8", "int32", "float8_e4m3fn", "float8_e5m2"),
        "Param (dtype) must be Int8, UInt8, Int32, HiFloat8, Float8_e4m3fn, Float8_e5m2",
    )
    values = input.float() / along(scales, input, axis)
    if written.kind == "integer":
        # The offset joins after the rounding, as PyTorch's quantize_per_channel has it.
        values = torch.round(values)
    if zero_points is not None:
        values = values + along(zero_points, input, axis)
    return written.write(values)


@chapter.reference("npu::npu_group_quant", source=page_of("npu_group_quant"))
def npu_group_quant(
    x: Tensor,
    scale: Tensor,
    group_index: Tensor,
    *,
    offset: Tensor | None = None,
    dst_dtype: int | torch.dtype | None = None,
) -> Tensor:
    """`x` is (rows, n), `scale` (groups, n); group i ends before row `group_index[i]`."""
    values = x.float() * scale.float()[rows_to_groups(group_index, x.shape[0])]
    if offset is not None:
        values = values + offset.float()
    return written_as(dst_dtype).write(values)


@chapter.reference("npu::npu_anti_quant", source=page_of("npu_anti_quant"))
def npu_anti_quant(
    x: Tensor,
    scale: Tensor,
    *,
    offset: Tensor | None = None,
    dst_dtype: int | None = None,
    src_dtype: int | None = None,
) -> Tensor:
    stored = {torch.int8: "int8", torch.int32: "int4"}
    stored |= {torch.float8_e4m3fn: "float8_e4m3fn", torch.float8_e5m2: "float8_e5m2"}
    if x.dtype == torch.uint8:
        raise NotEmulated("npu::npu_anti_quant: x in hifloat8")
    require(
        x.dtype in stored,
        "Input x must be int8, int32, hifloat8, float8_e5m2 or float8_e4m3fn",
    )
    source = format_named(stored[x.dtype])
    require(
        src_dtype is None or format_of(src_dtype) == source,
        (
            "The datatype of x is int32, src_dtype must be int4"
            if x.dtype == torch.int32
            else "The datatype of x must match src_dtype"
        ),
    )
    values = source.read(x)
    if offset is not None:
        values = values + offset.float()
    return format_of(dst_dtype, "float16").write(values * scale.float())


@chapter.reference("npu::npu_trans_quant_param", source=page_of("npu_trans_quant_param"))
def npu_trans_quant_param(
    scale: Tensor, offset: Tensor | None = None, round_mode: int | None = 0
) -> Tensor:
    """Scales as the 19-bit floats the matrix unit reads, each with its 9-bit offset, in int64."""
    require(
        round_mode in (None, 0, 1),
        f"round_mode must be 0 or 1. but now is {round_mode}",
    )
    bits = scale.float().contiguous().view(torch.int32).long() & 0xFFFFFFFF
    if round_mode == 1:
        # Half to even into the upper 19 bits.
        bits = bits + 0xFFF + ((bits >> 13) & 1)
    packed = (bits & 0xFFFFE000) | (1 << 46)
    if offset is None:
        return packed
    whole = torch.round(offset.float()).clamp(-256, 255).long() & 0x1FF
    return (packed & 0x4000FFFFFFFF) | (whole << 37)


def unpacked_quant_param(packed: Tensor) -> tuple[Tensor, Tensor]:
    """The float32 scales and offsets in what `npu_trans_quant_param` gives."""
    return scale_values(packed & 0xFFFFE000), scale_offset(packed)


def scale_values(scale: Tensor) -> Tensor:
    """`scale` as float32; a 64-bit scale carries a float32 in its low 32 bits.

    docs/zh/custom_APIs/torch_npu/torch_npu-npu_trans_quant_param.md
    """
    if scale.dtype not in PACKED:
        return scale.float()
    bits = scale.view(torch.int64) & 0xFFFFFFFF
    return torch.where(bits >= 2**31, bits - 2**32, bits).to(torch.int32).view(torch.float32)


def scale_offset(scale: Tensor) -> Tensor:
    """The 9-bit offset in bits 37-45 of a 64-bit scale; 0 for any other."""
    if scale.dtype not in PACKED:
        return torch.zeros(())
    offset = (scale.view(torch.int64) >> 37) & 0x1FF
    return torch.where(offset > 255, offset - 512, offset).float()


def dequantised(y: Tensor, weight_scale: Tensor, row_scale: Tensor) -> Tensor:
    """A product of whole numbers, scaled; a 64-bit scale of the weight has that of the rows in it.

    hiascend.com/document/detail/zh/CANNCommunityEdition/83RC1/API/aolapi/context/aclnnQuantMatmulDequant.md
    """
    y = y * scale_values(weight_scale)
    return y if weight_scale.dtype in PACKED else y * row_scale


def along(factors: Tensor, x: Tensor, axis: int) -> Tensor:
    """One-axis `factors` as float32, shaped to broadcast over axis `axis` of `x`."""
    factors = factors.float()
    if factors.dim() != 1 or x.dim() == 1:
        return factors
    shape = [1] * x.dim()
    shape[axis] = -1
    return factors.reshape(shape)


def rows_to_groups(ends: Tensor, rows: int) -> Tensor:
    """The group of each row, where group i ends before row `ends[i]`."""
    return torch.searchsorted(ends.long(), torch.arange(rows), right=True)


def written_as(dtype: int | torch.dtype | None, default: str = "int8") -> Format:
    """The format of a `ScalarType` argument, which arrives as a dtype or as its number."""
    if not isinstance(dtype, torch.dtype):
        return format_of(dtype, default)
    if dtype == torch.quint4x2:
        return format_named("int4")
    plain = {torch.qint8: torch.int8, torch.quint8: torch.uint8, torch.qint32: torch.int32}
    return format_named(str(plain.get(dtype, dtype)).removeprefix("torch."))


def int4_of(x: Tensor, axis: int) -> Tensor:
    """int4 packed eight to an int32 along `axis`, each as an int32."""
    return unpack_int4(x.movedim(axis, -1)).movedim(-1, axis)


def _multiplied(
    input: Tensor, scales: Tensor, zero_points: Tensor | None, dtype: int, axis: int
) -> Tensor:
    written = format_of(dtype)
    if written.name == "int32":
        # This path stores int4, eight to an int32, under either name.
        written = format_named("int4")
    values = input.float() * along(scales, input, axis)
    if zero_points is not None:
        values = values + along(zero_points, input, axis)
    require(
        written.name != "int4" or input.shape[-1] % 8 == 0,
        "Input shape last dim must be divded by 8",
    )
    return written.write(values)
