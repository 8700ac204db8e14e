"""Microscaling: blocks of small floats that share a power of two."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from cordee.core.errors import NotEmulated
from cordee.emulator.ops.demands import require
from cordee.emulator.ops.formats import Format, format_named, format_of
from cordee.emulator.ops.reference import Chapter
from cordee.emulator.ops.sources import code_of, page_of

chapter = Chapter(source=code_of("opapi/DynamicMxQuantKernelNpuOpApi.cpp"))

BIAS = 127  # of an E8M0 exponent (OCP microscaling formats 1.0, section 5.4.1)
BLOCK = 32


@dataclass(frozen=True, slots=True)
class Blocks:
    """How values become blocks of small floats under shared scales."""

    written: Format
    rounding: str = "rint"
    scale_alg: int = 0
    largest: float = 0.0  # 0: the largest number of the format
    size: int = BLOCK

    def quantised(self, values: Tensor, axis: int = -1) -> tuple[Tensor, Tensor]:
        """The numbers, and the E8M0 scale of each block along `axis`, two to a last axis of 2."""
        rows = values.float().movedim(axis, -1)
        length = rows.shape[-1]
        count = math.ceil(length / self.size)
        blocks = torch.nn.functional.pad(rows, (0, count * self.size - length))
        blocks = torch.unflatten(blocks, -1, (count, self.size))
        codes = self.codes(blocks.abs().amax(-1))
        scaled = (blocks / exponentials(codes).unsqueeze(-1)).flatten(-2)[..., :length]
        numbers = self.stored(scaled.movedim(-1, axis))
        paired = paired_up(codes)
        return numbers, paired.movedim(-2, axis - 1 if axis < 0 else axis)

    def codes(self, most: Tensor) -> Tensor:
        """The E8M0 code of each block, from the largest magnitude in it."""
        if self.scale_alg == 0 and not self.largest:
            top = math.floor(math.log2(self.written.largest))
            exponent = torch.frexp(most).exponent - 1 - top
        elif self.scale_alg == 1 and self.written.per_item == 1:
            # The least power of two under which the largest value still fits.
            fraction, exponent = torch.frexp(most / (self.largest or self.written.largest))
            exponent = exponent - (fraction == 0.5).int()
        else:
            raise NotEmulated(
                f"scale_alg={self.scale_alg} with dst_type_max={self.largest} "
                f"for {self.written.name}"
            )
        codes = (exponent + BIAS).clamp(0, 254)
        return torch.where(most == 0, torch.zeros_like(codes), codes).to(torch.uint8)

    def stored(self, scaled: Tensor) -> Tensor:
        """`scaled` in the format; two 4-bit floats make one uint8."""
        written = self.written
        require(
            written.per_item == 1 or scaled.shape[-1] % 2 == 0,
            (
                "The last dim input shape must be divisible by 2 if output dtype is "
                "torch_npu.float4_e2m1 or torch_npu.float4_e1m2"
            ),
        )
        numbers = written.write(scaled.contiguous(), self.rounding)
        return numbers.view(torch.uint8) if written.per_item > 1 else numbers


@chapter.reference("npu::npu_dynamic_mx_quant")
def npu_dynamic_mx_quant(
    input: Tensor,
    *,
    axis: int = -1,
    round_mode: str = "rint",
    dst_type: int = 296,
    block_size: int = BLOCK,
    scale_alg: int | None = 0,
    dst_type_max: float = 0.0,
    max_low_bound: float = 0.0,
) -> tuple[Tensor, Tensor]:
    if max_low_bound:
        raise NotEmulated("npu::npu_dynamic_mx_quant: max_low_bound")
    require(-input.dim() <= axis < input.dim(), "Param (axis) is out of input dimension range")
    require(
        block_size % BLOCK == 0 and 0 < block_size <= 1024,
        ("Param (block_size) must be divisible by 32 and no greater than 1024, greater than 0"),
    )
    blocks = Blocks(format_of(dst_type), round_mode, scale_alg or 0, dst_type_max, block_size)
    return blocks.quantised(input, axis if axis < 0 else axis - input.dim())


@chapter.reference(
    "npu::npu_dynamic_mx_quant_with_dual_axis",
    source=code_of("opapi/DynamicMxQuantWithDualAxisKernelNpuOpApi.cpp"),
)
def npu_dynamic_mx_quant_with_dual_axis(
    input: Tensor,
    *,
    round_mode: str = "rint",
    dst_type: int = 296,
    scale_alg: int = 0,
    dst_type_max: float | None = 0.0,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    require(input.dim() >= 2, "The input should be at least 2D")
    blocks = Blocks(format_of(dst_type), round_mode, scale_alg, dst_type_max or 0.0)
    return along_both(input, blocks)


@chapter.reference(
    "npu::npu_dynamic_block_mx_quant", source=code_of("opapi/DynamicBlockMxQuantKernelNpuOpApi.cpp")
)
def npu_dynamic_block_mx_quant(
    input: Tensor,
    *,
    round_mode: str = "rint",
    dst_type: int = 296,
    scale_alg: int = 0,
    dst_type_max: float = 0.0,
) -> tuple[Tensor, Tensor, Tensor]:
    """One scale per square of 32 by 32; the two results of scales repeat it along either axis."""
    require(input.dim() >= 2, "The input should be at least 2D")
    blocks = Blocks(format_of(dst_type), round_mode, scale_alg, dst_type_max)
    rows, columns = input.shape[-2:]
    squares = _padded(input.float(), rows, columns)
    squares = torch.unflatten(torch.unflatten(squares, -1, (-1, BLOCK)), -3, (-1, BLOCK))
    codes = blocks.codes(squares.abs().amax((-3, -1)))
    by_row = codes.repeat_interleave(BLOCK, -2)[..., :rows, :]
    by_column = codes.repeat_interleave(BLOCK, -1)[..., :columns]
    scale = exponentials(by_row).repeat_interleave(BLOCK, -1)[..., :columns]
    y = blocks.stored(input.float() / scale)
    return y, paired_up(by_row), paired_up(by_column.mT).movedim(-2, -3)


@chapter.reference(
    "npu::npu_dynamic_dual_level_mx_quant", source=page_of("npu_dynamic_dual_level_mx_quant")
)
def npu_dynamic_dual_level_mx_quant(
    input: Tensor, *, smooth_scale: Tensor | None = None, round_mode: str = "rint"
) -> tuple[Tensor, Tensor, Tensor]:
    if smooth_scale is not None:
        raise NotEmulated("npu::npu_dynamic_dual_level_mx_quant: smooth_scale")
    written = format_named("float4_e2m1")
    length = input.shape[-1]
    outer = torch.nn.functional.pad(input.float(), (0, -length % 512))
    outer = torch.unflatten(outer, -1, (-1, 512))
    level0 = outer.abs().amax(-1) / written.largest
    divisor = torch.where(level0 == 0, torch.ones_like(level0), level0)
    first = (outer / divisor.unsqueeze(-1)).flatten(-2)[..., :length].to(input.dtype)
    y, level1 = Blocks(written, round_mode).quantised(first)
    return y, level0, level1


@chapter.reference("npu::npu_anti_mx_quant", source=code_of("opapi/AntiMxQuantKernelNpuOpApi.cpp"))
def npu_anti_mx_quant(
    x: Tensor,
    mxscale: Tensor,
    *,
    axis: int | None = -1,
    dst_type: int | None = 15,
    src_type: int | None = 292,
) -> Tensor:
    source = format_of(src_type, "float4_e2m1")
    require(
        source.per_item == 1 or x.dtype == torch.uint8,
        "When src_type is float4, x dtype must be uint8",
    )
    require(
        source.per_item > 1 or x.dtype == source.storage,
        "For float8, x dtype must be same as src_type, please check",
    )
    values = source.read(x)
    at = (-1 if axis is None else axis) % x.dim()
    codes = mxscale.view(torch.uint8).movedim(-1, at + 1).flatten(at, at + 1)
    scale = exponentials(codes.repeat_interleave(BLOCK, at)).narrow(at, 0, values.shape[at])
    return format_of(dst_type, "bfloat16").write(values * scale)


def along_both(values: Tensor, blocks: Blocks) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Numbers and scales of blocks along the last axis, then of blocks along the one before."""
    return (*blocks.quantised(values, -1), *blocks.quantised(values, -2))


def paired_up(codes: Tensor) -> Tensor:
    """(..., n) as (..., n/2, 2), with a last code of zero where n is odd."""
    even = torch.nn.functional.pad(codes, (0, codes.shape[-1] % 2))
    return torch.unflatten(even, -1, (-1, 2))


def exponentials(codes: Tensor) -> Tensor:
    """The powers of two that E8M0 codes stand for."""
    return torch.exp2(codes.double() - BIAS).float()


def _padded(values: Tensor, rows: int, columns: int) -> Tensor:
    return torch.nn.functional.pad(values, (0, -columns % BLOCK, 0, -rows % BLOCK))
