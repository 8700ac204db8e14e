"""Matrix products of quantised operands, dequantised on the way out."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from cordee.core.errors import NotEmulated
from cordee.emulator.ops.contract import refuse
from cordee.emulator.ops.demands import require
from cordee.emulator.ops.formats import Format, format_of
from cordee.emulator.ops.matmul.products import int4_operands, int4_weight, integer_product
from cordee.emulator.ops.quantisation.dynamic import in_int8
from cordee.emulator.ops.quantisation.scales import (
    dequantised,
    npu_trans_quant_param,
    unpacked_quant_param,
)
from cordee.emulator.ops.reference import Chapter
from cordee.emulator.ops.sources import CONFIG, page_of

chapter = Chapter(source=page_of("npu_quant_matmul"))

FLOAT8 = (torch.float8_e4m3fn, torch.float8_e5m2)


@chapter.reference("npu::npu_quant_matmul")
def npu_quant_matmul(
    x1: Tensor,
    x2: Tensor,
    scale: Tensor,
    *,
    offset: Tensor | None = None,
    pertoken_scale: Tensor | None = None,
    bias: Tensor | None = None,
    output_dtype: int | None = None,
    x1_dtype: int | None = None,
    x2_dtype: int | None = None,
    pertoken_scale_dtype: int | None = None,
    scale_dtype: int | None = None,
    group_sizes: Sequence[int] | None = None,
    y_scale: Tensor | None = None,
) -> Tensor:
    refuse(
        "npu::npu_quant_matmul",
        x1_dtype=x1_dtype,
        x2_dtype=x2_dtype,
        scale_dtype=scale_dtype,
        pertoken_scale_dtype=pertoken_scale_dtype,
        y_scale=y_scale,
    )
    written = format_of(output_dtype)
    group = group_sizes[2] if group_sizes else 0
    if x1.dtype == torch.int8 and x2.dtype == torch.int32:
        return written.write(_a8w4(x1, x2, scale, offset, pertoken_scale))
    if x1.dtype == torch.int32 and group:
        return written.write(_a4w4_in_groups(x1, x2, scale, offset, pertoken_scale, group))
    if group_sizes and any(group_sizes):
        raise NotEmulated(f"npu::npu_quant_matmul: group_sizes={list(group_sizes)} of {x1.dtype}")
    product = _product(x1, x2)
    if bias is not None and bias.dtype == torch.int32:
        product = product + bias
    if written.name == "int32":
        return written.write(product)
    scale, shift = _output_scale(scale, offset, pertoken_scale, written)
    y = product.float() * scale
    if pertoken_scale is not None:
        y = y * _column(pertoken_scale)
    if bias is not None and bias.dtype != torch.int32:
        y = y + bias.float()
    return written.write(y if shift is None else torch.round(y) + shift)


@chapter.reference("npu::npu_quant_matmul_gelu", source=page_of("npu_quant_matmul_gelu"))
def npu_quant_matmul_gelu(
    x1: Tensor,
    x2: Tensor,
    x1_scale: Tensor,
    x2_scale: Tensor,
    *,
    bias: Tensor | None = None,
    approximate: str | None = "gelu_erf",
) -> Tensor:
    approximate = "gelu_erf" if approximate is None else approximate
    require(
        x1.dtype == x2.dtype and x1.dtype in (torch.int8, torch.int32),
        (
            "Only A4W4 (int4/int32) or A8W8 (int8) quantization is supported, "
            f"but got x1.dtype={x1.dtype}, x2.dtype={x2.dtype}"
        ),
    )
    require(
        approximate in ("gelu_tanh", "gelu_erf"),
        f"approximate must be 'gelu_tanh' or 'gelu_erf', but got: {approximate}",
    )
    y = _product(x1, x2)
    if bias is not None and bias.dtype == torch.int32:
        y = y + bias
    y = y.float() * _row_scale(x2_scale) * _column(x1_scale)
    if bias is not None and bias.dtype != torch.int32:
        y = y + bias.float()
    wide = torch.bfloat16 in (x2_scale.dtype, None if bias is None else bias.dtype)
    y = F.gelu(y, approximate="tanh" if approximate == "gelu_tanh" else "none")
    return y.to(torch.bfloat16 if wide else torch.float16)


@chapter.reference(
    "npu::npu_quant_matmul_reduce_sum", source=page_of("npu_quant_matmul_reduce_sum")
)
def npu_quant_matmul_reduce_sum(
    x1: Tensor,
    x2: Tensor,
    *,
    x1_scale: Tensor | None = None,
    x2_scale: Tensor | None = None,
) -> Tensor:
    """Sum over the batch of x1 (b, m, k) @ x2 (b, k, n), with scales (b, m) and (n,)."""
    require(x1_scale is not None and x1_scale.dim() == 2, "x1_scale dim should be 2")
    require(x2_scale is not None and x2_scale.dim() == 1, "x2_scale dim should be 1")
    assert x1_scale is not None
    assert x2_scale is not None
    y = integer_product(x1, x2).float() * x2_scale.float() * x1_scale.float().unsqueeze(-1)
    return y.sum(0).to(torch.bfloat16)


@chapter.reference("npu::npu_quant_matmul_dequant", source=CONFIG)
def npu_quant_matmul_dequant(
    x: Tensor,
    quantized_weight: Tensor,
    weight_scale: Tensor,
    *,
    bias: Tensor | None = None,
    x_scale: Tensor | None = None,
    x_offset: Tensor | None = None,
    smooth_scale: Tensor | None = None,
    quant_mode: str | None = "pertoken",
) -> Tensor:
    """Quantises float16 `x` (m, k) to int8, multiplies by the (n, k) weight, dequantises."""
    refuse("npu::npu_quant_matmul_dequant", bias=bias, x_offset=x_offset)
    rows, row_scale = in_int8(x, smooth_scale, x_scale, quant_mode)
    y = integer_product(rows, quantized_weight.mT).float()
    return dequantised(y, weight_scale, row_scale).to(x.dtype)


@chapter.reference("npu::npu_add_quant_matmul_", source=page_of("npu_add_quant_matmul_"))
def npu_add_quant_matmul_(
    input: Tensor,
    x1: Tensor,
    x2: Tensor,
    x2_scale: Tensor,
    *,
    x1_scale: Tensor | None = None,
    group_sizes: Sequence[int] | None = None,
    x1_dtype: int | None = None,
    x2_dtype: int | None = None,
    x1_scale_dtype: int | None = None,
    x2_scale_dtype: int | None = None,
) -> Tensor:
    refuse(
        "npu::npu_add_quant_matmul_",
        x1_dtype=x1_dtype,
        x2_dtype=x2_dtype,
        x1_scale_dtype=x1_scale_dtype,
        x2_scale_dtype=x2_scale_dtype,
        group_sizes=any(group_sizes or ()),
    )
    y = _product(x1, x2).float() * _row_scale(x2_scale)
    if x1_scale is not None:
        y = y * _column(x1_scale)
    return input.add_(y.to(input.dtype))


chapter.pure(
    "npu::npu_add_quant_matmul",
    npu_add_quant_matmul_,
    "input",
    source=page_of("npu_add_quant_matmul_"),
)


def _product(x1: Tensor, x2: Tensor) -> Tensor:
    """The unscaled product: exact for integers, float32 for 8-bit floats."""
    if x1.dtype in FLOAT8 and x2.dtype in FLOAT8:
        return x1.float() @ x2.float()
    if x1.dtype == torch.int32:
        x1, x2 = int4_operands(x1, x2)
    elif x1.dtype != torch.int8 or x2.dtype != torch.int8:
        raise NotEmulated(f"a quantised product of {x1.dtype} and {x2.dtype}")
    return integer_product(x1, x2)


def _output_scale(
    scale: Tensor, offset: Tensor | None, pertoken_scale: Tensor | None, written: Format
) -> tuple[Tensor, Tensor | None]:
    """The scale of the output, and the offset of an int8 output, as the matrix unit has them."""
    narrow = pertoken_scale is None and written.name != "bfloat16"
    if scale.dtype == torch.float32 and narrow:
        # Without a scale per token the adapter packs both into 64 bits, the scale cut to 19.
        scale = npu_trans_quant_param(scale, offset)
    if scale.dtype != torch.int64:
        if offset is not None:
            raise NotEmulated("npu::npu_quant_matmul: offset without group_sizes")
        return scale.float(), None
    scale, shift = unpacked_quant_param(scale)
    return scale, shift if written.name == "int8" else None


def _a4w4_in_groups(
    x1: Tensor,
    x2: Tensor,
    scale: Tensor,
    offset: Tensor | None,
    pertoken_scale: Tensor | None,
    group: int,
) -> Tensor:
    """`scale` and `offset` are (k / group, n): each group of rows of x2 has its own."""
    left, right = int4_operands(x1, x2)
    y = _summed_groups(left, right, scale.float(), offset, group)
    return y if pertoken_scale is None else y * _column(pertoken_scale)


def _a8w4(
    x1: Tensor, x2: Tensor, scale: Tensor, offset: Tensor | None, pertoken_scale: Tensor | None
) -> Tensor:
    """int8 times int4, with scales per group of rows of x2.

    The unit splits each int8 into a signed upper and a lower half shifted by -8; the caller's
    offset makes up for the shift, so here too x1 counts as x1 - 8
    (op-plugin test/test_custom_ops/test_npu_quant_matmul.py, a8w4_quant_golden).
    """
    factors = unpacked_quant_param(scale)[0] if scale.dtype == torch.int64 else scale.float()
    right = int4_weight(x2, x1.shape[-1])
    y = _summed_groups(x1.int() - 8, right, factors, None, right.shape[0] // factors.shape[0])
    if offset is not None:
        y = y + offset.float()
    return y if pertoken_scale is None else y * _column(pertoken_scale)


def _summed_groups(
    x1: Tensor, x2: Tensor, scale: Tensor, offset: Tensor | None, group: int
) -> Tensor:
    weight = x2.float()
    if offset is not None:
        weight = weight - offset.float().repeat_interleave(group, 0)[: x2.shape[0]]
    return x1.float() @ (weight * scale.repeat_interleave(group, 0)[: x2.shape[0]])


def _column(scale: Tensor) -> Tensor:
    """A scale per row of the product, as a column."""
    return scale.float().unsqueeze(-1) if scale.dim() == 1 and scale.numel() > 1 else scale.float()


def _row_scale(scale: Tensor) -> Tensor:
    """A scale per column of the product; int64 ones hold 19-bit floats."""
    return unpacked_quant_param(scale)[0] if scale.dtype == torch.int64 else scale.float()
