"""Grouped products of quantised matrices fused with what comes after them in a layer."""

import torch
from torch import Tensor

from cordee.core.errors import NotEmulated
from cordee.emulator.ops.contract import refuse, unwritten
from cordee.emulator.ops.formats import format_named
from cordee.emulator.ops.grouped_matmul.groups import (
    groups_of,
    int8_times_int4,
    plain_weight,
    product,
    unpacked,
)
from cordee.emulator.ops.quantisation.dynamic import in_int8, quantised_by_row
from cordee.emulator.ops.quantisation.scales import dequantised, scale_values
from cordee.emulator.ops.reference import Chapter
from cordee.emulator.ops.sources import code_of, page_of

chapter = Chapter(source=page_of("npu_grouped_matmul_swiglu_quant_v2"))


@chapter.reference("npu::npu_grouped_matmul_swiglu_quant")
def swiglu_quant(
    x: Tensor,
    weight: Tensor,
    group_list: Tensor,
    weight_scale: Tensor,
    x_scale: Tensor,
    bias: Tensor | None = None,
    offset: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """int8 swiglu(x @ weight) of each group [m, n / 2], each row's scale [m], and no offset."""
    refuse("npu_grouped_matmul_swiglu_quant", offset=offset)
    out, scale = _swiglu_quant((x, x_scale), (weight, weight_scale), (group_list, 0), bias, None)
    return out, scale.to(x_scale.dtype), unwritten((), torch.float32)


@chapter.reference("npu::npu_grouped_matmul_swiglu_quant_v2")
def swiglu_quant_v2(
    x: Tensor,
    weight: list[Tensor],
    weight_scale: list[Tensor],
    x_scale: Tensor,
    group_list: Tensor,
    smooth_scale: Tensor | None = None,
    weight_assist_matrix: list[Tensor] | None = None,
    bias: Tensor | None = None,
    dequant_mode: int | None = 0,
    dequant_dtype: int | None = 6,
    quant_mode: int | None = 0,
    quant_dtype: int | None = 1,
    group_list_type: int | None = 0,
    tuning_config: list[int] | None = None,
    x_dtype: int | None = None,
    weight_dtype: int | None = None,
    weight_scale_dtype: int | None = None,
    x_scale_dtype: int | None = None,
) -> tuple[Tensor, Tensor]:
    """int8 swiglu(x @ weight) of each group [m, n / 2], and each row's scale [m]."""
    refuse(
        "npu_grouped_matmul_swiglu_quant_v2",
        x_dtype=x_dtype,
        weight_dtype=weight_dtype,
        weight_scale_dtype=weight_scale_dtype,
        x_scale_dtype=x_scale_dtype,
        weight=len(weight) != 1,
        bias=bias,
        quant_dtype=quant_dtype not in (None, 1),
    )
    assist = weight_assist_matrix[0] if weight_assist_matrix else None
    groups = (group_list, group_list_type or 0)
    right = (weight[0], weight_scale[0])
    return _swiglu_quant((x, x_scale), right, groups, assist, smooth_scale)


@chapter.reference(
    "npu::npu_grouped_matmul_finalize_routing",
    source=page_of("npu_grouped_matmul_finalize_routing"),
)
def finalize_routing(
    x: Tensor,
    w: Tensor,
    group_list: Tensor,
    scale: Tensor | None = None,
    bias: Tensor | None = None,
    offset: Tensor | None = None,
    pertoken_scale: Tensor | None = None,
    shared_input: Tensor | None = None,
    logit: Tensor | None = None,
    row_index: Tensor | None = None,
    dtype: torch.dtype | None = None,
    shared_input_weight: float | None = 1.0,
    shared_input_offset: int | None = 0,
    output_bs: int | None = 0,
    group_list_type: int | None = 1,
    tuning_config: list[int] | None = None,
    x_dtype: int | None = None,
    w_dtype: int | None = None,
    scale_dtype: int | None = None,
    pertoken_scale_dtype: int | None = None,
) -> Tensor:
    """The experts' products, weighted by `logit` and added up in row `row_index` [batch, n]."""
    refuse(
        "npu_grouped_matmul_finalize_routing",
        offset=offset,
        x_dtype=x_dtype,
        w_dtype=w_dtype,
        scale_dtype=scale_dtype,
        pertoken_scale_dtype=pertoken_scale_dtype,
    )
    if scale is None or row_index is None:
        raise NotEmulated("npu_grouped_matmul_finalize_routing: no scale or no row_index")
    groups = (group_list, 1 if group_list_type is None else group_list_type)
    y, done = _scaled_products((x, pertoken_scale), (w, scale), groups, bias)
    if logit is not None:
        y = y * logit.float().reshape(-1, 1)
    out = torch.zeros(output_bs or x.shape[0], y.shape[1])
    out.index_add_(0, row_index[:done].long(), y[:done])
    if shared_input is not None:
        first = shared_input_offset or 0
        weight = 1.0 if shared_input_weight is None else shared_input_weight
        out[first : first + shared_input.shape[0]] += weight * shared_input.float()
    return out


@chapter.reference(
    "npu::npu_quant_grouped_matmul_dequant",
    source=code_of("opapi/QuantGroupedMatmulDequantNpuOpApi.cpp"),
)
def quant_dequant(
    x: Tensor,
    quantized_weight: Tensor,
    weight_scale: Tensor,
    group_list: Tensor,
    bias: Tensor | None = None,
    x_scale: Tensor | None = None,
    x_offset: Tensor | None = None,
    smooth_scale: Tensor | None = None,
    quant_mode: str | None = "pertoken",
) -> Tensor:
    """Quantise `x` to int8, multiply by each group's weight [groups, n, k], and scale back."""
    refuse("npu_quant_grouped_matmul_dequant", bias=bias, x_offset=x_offset)
    quantised, scale = in_int8(x, smooth_scale, x_scale, quant_mode)
    out = unwritten((x.shape[0], weight_scale.shape[1]), x.dtype)
    for number, start, end in groups_of(group_list, 0):
        y = product(quantised[start:end], quantized_weight[number].T)
        rows = scale if scale.shape[0] == 1 else scale[start:end]
        out[start:end] = dequantised(y, weight_scale[number], rows).to(x.dtype)
    return out


@chapter.reference(
    "npu::npu_add_quant_gmm_", source=code_of("opapi/QuantGroupedMatmulInplaceAddNpuOpApi.cpp")
)
def add_quant_gmm_(
    input: Tensor,
    x1: Tensor,
    x2: Tensor,
    x2_scale: Tensor,
    group_list: Tensor,
    x1_scale: Tensor | None = None,
    group_list_type: int | None = 0,
    group_sizes: list[int] | None = None,
    x1_dtype: int | None = None,
    x2_dtype: int | None = None,
    x1_scale_dtype: int | None = None,
    x2_scale_dtype: int | None = None,
) -> Tensor:
    """Not emulated: it takes 8-bit floats, which no Ascend before 950 has."""
    raise NotEmulated("npu_add_quant_gmm_: 8-bit floating point is not emulated")


chapter.pure(
    "npu::npu_add_quant_gmm",
    add_quant_gmm_,
    "input",
    source=code_of("opapi/QuantGroupedMatmulAddNpuOpApi.cpp"),
)


Scaled = tuple[Tensor, Tensor]


def _scaled_products(
    left: tuple[Tensor, Tensor | None],
    right: Scaled,
    groups: tuple[Tensor, int],
    bias: Tensor | None,
) -> tuple[Tensor, int]:
    """x @ weight of each group, scaled by column and row, in float32; and the rows it wrote."""
    x, x_scale = left
    weight, weight_scale = right
    columns = weight_scale.shape[-1]
    x, weight = unpacked(x), plain_weight(weight, columns)
    scale = scale_values(weight_scale)
    y = unwritten((x.shape[0], columns), torch.float32)
    done = 0
    for number, start, end in groups_of(*groups):
        own = scale[number].reshape(-1, columns)
        if bias is not None:
            y[start:end] = int8_times_int4(x[start:end], weight[number], own, bias[number])
        elif own.shape[0] == 1:
            y[start:end] = product(x[start:end], weight[number]) * own
        else:
            raise NotEmulated("a scale for each block of rows of an int8 weight is not emulated")
        done = end
    return (y if x_scale is None else y * x_scale.float().reshape(-1, 1)), done


def _swiglu_quant(
    left: Scaled,
    right: Scaled,
    groups: tuple[Tensor, int],
    assist: Tensor | None,
    smooth: Tensor | None,
) -> tuple[Tensor, Tensor]:
    y, done = _scaled_products(left, right, groups, assist)
    act, gate = y.chunk(2, -1)
    value = torch.nn.functional.silu(act) * gate
    if smooth is not None:
        for number, start, end in groups_of(*groups):
            value[start:end] *= smooth[number].float()
    quantised, scale = quantised_by_row(value, format_named("int8"))
    out = unwritten(value.shape, torch.int8)
    out[:done] = quantised[:done]
    return out, scale
