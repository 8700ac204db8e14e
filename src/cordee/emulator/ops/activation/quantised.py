"""Activations and gated units whose result is quantised."""

import torch
import torch.nn.functional as F
from torch import Tensor

from cordee.core.errors import NotEmulated
from cordee.emulator.ops.activation.gated import clipped_swiglu, swiglu
from cordee.emulator.ops.activation.pointwise import gelu
from cordee.emulator.ops.contract import unwritten
from cordee.emulator.ops.demands import require
from cordee.emulator.ops.formats import format_of
from cordee.emulator.ops.quantisation.biases import dequantised
from cordee.emulator.ops.quantisation.dynamic import nonzero, quantised_by_row
from cordee.emulator.ops.quantisation.scales import rows_to_groups, written_as
from cordee.emulator.ops.reference import Chapter
from cordee.emulator.ops.sources import code_of, page_of

chapter = Chapter(source=page_of("npu_swiglu_quant"))

# By the number npu_dequant_swiglu_quant gives them (its test's round_mode_map).
ROUNDINGS = ("rint", "round", "floor", "ceil", "trunc")


@chapter.reference("npu::npu_swiglu_quant")
def npu_swiglu_quant(
    x: Tensor,
    *,
    smooth_scales: Tensor | None = None,
    offsets: Tensor | None = None,
    group_index: Tensor | None = None,
    activate_left: bool = False,
    quant_mode: int = 0,
    group_list_type: int = 0,
    dst_type: torch.dtype | None = None,
) -> tuple[Tensor, Tensor]:
    """`quant_mode` 0 is static, 1 dynamic; `group_index` holds ends (type 0) or counts (1).

    A dynamic scale is what the values were multiplied by, 127 (or 7) over the largest: so has it
    op-plugin test/test_custom_ops/test_npu_swiglu_quant.py. int4 come two to an int8.
    """
    require(
        quant_mode in (0, 1),
        f"quant_mode only support 0(static) or 1(dynamic), but got {quant_mode}",
    )
    require(
        group_list_type in (0, 1),
        f"group_list_type only support 0(cumsum) or 1(count), but got {group_list_type}",
    )
    require(
        dst_type in (None, torch.int8, torch.quint4x2),
        "dtype must be torch.int8 for int8 or torch.quint4x2 for int4",
    )
    require(x.shape[-1] % 2 == 0, "x last dim size should be even")
    written = written_as(dst_type)
    require(
        written.name != "int4" or x.shape[-1] % 4 == 0,
        (
            "x shape last dim must be divded by 4 when dst_type is torch.quint4x2, "
            f"but got {x.shape[-1]}"
        ),
    )
    rows = swiglu(x.float(), -1, activate_left).flatten(0, -2)
    factors = [_of_rows(f, group_index, group_list_type, rows) for f in (smooth_scales, offsets)]
    if factors[0] is not None:
        rows = rows * factors[0]
    lead = x.shape[:-1]
    if quant_mode == 0:
        y = rows if factors[1] is None else rows + factors[1]
        scale = unwritten(lead, torch.float32)
    else:
        by = written.largest / nonzero(rows.abs().amax(-1, keepdim=True))
        y, scale = rows * by, by.reshape(lead)
    whole = torch.round(y).clamp(written.lowest, written.largest).reshape(*lead, -1)
    return _two_to_a_byte(whole) if written.name == "int4" else whole.to(torch.int8), scale


@chapter.reference("npu::npu_dequant_swiglu_quant", source=page_of("npu_dequant_swiglu_quant"))
def npu_dequant_swiglu_quant(
    x: Tensor,
    *,
    weight_scale: Tensor | None = None,
    activation_scale: Tensor | None = None,
    bias: Tensor | None = None,
    quant_scale: Tensor | None = None,
    quant_offset: Tensor | None = None,
    group_index: Tensor | None = None,
    activate_left: bool = False,
    quant_mode: int = 0,
    dst_type: int | None = None,
    round_mode: int | None = None,
    activate_dim: int | None = None,
    swiglu_mode: int = 0,
    clamp_limit: float = 7.0,
    glu_alpha: float = 1.702,
    glu_bias: float = 1.0,
) -> tuple[Tensor, Tensor]:
    """`group_index` holds counts; rows past their sum are undefined on the device, zero here.

    `dst_type` and `round_mode` are for Ascend950; before it the adapter writes int8 whatever
    they are.
    """
    _check_dequantised(x, quant_mode, swiglu_mode)
    written = format_of(dst_type)
    if written.per_item > 1 or activate_dim not in (None, -1, x.dim() - 1):
        raise NotEmulated(
            "npu::npu_dequant_swiglu_quant: a 4-bit dst_type or an activate_dim but the last"
        )
    require(
        round_mode is None or 0 <= round_mode < len(ROUNDINGS),
        f"round_mode only support [0, 1, 2, 3, 4], but got{round_mode}",
    )
    rounding = ROUNDINGS[round_mode or 0]
    rows = x.flatten(0, -2)
    factors = [
        _of_rows(f, group_index, 1, rows) for f in (weight_scale, bias, quant_scale, quant_offset)
    ]
    values = dequantised(rows, factors[0], activation_scale, factors[1])
    if swiglu_mode == 0:
        y = swiglu(values, -1, activate_left)
    else:
        y = clipped_swiglu(
            values, glu_alpha, clamp_limit, glu_bias, swiglu_mode == 1, activate_left
        )
    lead = x.shape[:-1]
    if quant_mode == 0:
        y = y if factors[2] is None else y / factors[2]
        numbers = written.write(y if factors[3] is None else y + factors[3], rounding)
        scale = unwritten(lead, torch.float32)
    else:
        y = y if factors[2] is None else y * factors[2]
        numbers, scale = quantised_by_row(y, written, rounding)
    if group_index is not None:
        used = int(group_index.sum())
        numbers[used:], scale.view(-1)[used:] = torch.zeros((), dtype=numbers.dtype), 0
    return numbers.reshape(*lead, -1), scale.reshape(lead)


@chapter.reference("npu::npu_gelu_quant", source=code_of("opapi/GeluQuantKernelNpuOpApi.cpp"))
def npu_gelu_quant(
    input: Tensor,
    *,
    input_scale: Tensor | None = None,
    input_offset: Tensor | None = None,
    approximate: str = "none",
    quant_mode: str = "dynamic",
    dst_type: int | None = None,
    round_mode: str = "rint",
) -> tuple[Tensor, Tensor | None]:
    """A static quantisation gives no tensor of scales."""
    require(
        quant_mode in ("dynamic", "static"),
        f"Parameter quant_mode must be 'dynamic' or 'static', got: {quant_mode}",
    )
    written = format_of(dst_type)
    y = gelu(input.float(), approximate)
    if input_scale is not None:
        y = y * input_scale.float()
    if quant_mode == "dynamic":
        return quantised_by_row(y, written, round_mode)
    require(
        input_scale is not None,
        "input_scale cannot be None when quant_mode is 'static'.",
    )
    if input_offset is not None:
        y = y + input_offset.float()
    return written.write(y, round_mode), None


@chapter.reference(
    "npu::npu_swiglu_group_quant_backward",
    source=code_of("opapi/SwigluGroupQuantBackwardKernelNpuOpApi.cpp"),
)
def npu_swiglu_group_quant_backward(
    grad_y: Tensor,
    x: Tensor,
    *,
    weight: Tensor | None = None,
    y_origin: Tensor | None = None,
    group_index: Tensor | None = None,
    clamp_limit: float = 0.0,
) -> tuple[Tensor, Tensor]:
    """Gradients of swiglu(x) * weight, a weight per row; `group_index` holds counts of rows."""
    require(x.shape[-1] % 2 == 0, "x last dim size should be even")
    grad = grad_y.float()
    if group_index is not None:
        kept = torch.arange(grad.shape[:-1].numel()) < group_index.sum()
        grad = grad * kept.reshape(*grad.shape[:-1], 1)
    if weight is None:
        grad_weight = torch.empty(0)
    else:
        require(y_origin is not None, "y_origin is needed where weight is given")
        assert y_origin is not None
        grad_weight = (grad * y_origin.float()).sum(-1).reshape(weight.shape).to(weight.dtype)
        grad = grad * weight.float().reshape(*grad.shape[:-1], 1)
    gate, linear = x.float().chunk(2, -1)
    open_gate, open_linear = torch.ones_like(gate), torch.ones_like(linear)
    if clamp_limit:
        open_gate = (gate < clamp_limit).float()
        open_linear = (linear.abs() < clamp_limit).float()
        gate, linear = gate.clamp(max=clamp_limit), linear.clamp(-clamp_limit, clamp_limit)
    sigmoid = torch.sigmoid(gate)
    slope = sigmoid * (1 + gate * (1 - sigmoid))
    grad_x = torch.cat(
        (grad * linear * slope * open_gate, grad * F.silu(gate) * open_linear), dim=-1
    )
    return grad_x.to(x.dtype), grad_weight


def _check_dequantised(x: Tensor, quant_mode: int, swiglu_mode: int) -> None:
    require(x.dim() > 1, "x dim should larger than 1")
    require(quant_mode in (0, 1), f"quant_mode only support 0 or 1, but got{quant_mode}")
    require(
        swiglu_mode in (0, 1, 2),
        f"swiglu_mode only support 0, 1 or 2, but got {swiglu_mode}",
    )
    require(x.shape[-1] % 2 == 0, "x last dim should be even")


def _of_rows(
    factors: Tensor | None, group_index: Tensor | None, kind: int, rows: Tensor
) -> Tensor | None:
    """Factors of each row: from (groups, n), from one per group, or one (n,) for all rows."""
    if factors is None:
        return None
    groups = 1 if group_index is None else group_index.numel()
    if factors.dim() == 1:
        factors = factors.unsqueeze(-1 if factors.numel() == groups else 0)
    if group_index is None:
        return factors
    ends = group_index.long() if kind == 0 else group_index.long().cumsum(0)
    chosen = rows_to_groups(ends, rows.shape[0]).clamp(max=factors.shape[0] - 1)
    return factors[chosen]


def _two_to_a_byte(whole: Tensor) -> Tensor:
    """int4 packed into int8, the first in the lower half."""
    nibbles = whole.to(torch.int16) & 0xF
    low, high = nibbles[..., ::2], nibbles[..., 1::2]
    return (low | high << 4).to(torch.uint8).view(torch.int8)
