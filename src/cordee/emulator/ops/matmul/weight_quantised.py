"""Products of floating-point activations with quantised weights, and feed-forward layers."""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from cordee.core.errors import NotEmulated
from cordee.emulator.ops.contract import refuse
from cordee.emulator.ops.demands import require
from cordee.emulator.ops.formats import format_named
from cordee.emulator.ops.matmul.products import int4_weight, integer_product
from cordee.emulator.ops.quantisation.scales import unpacked_quant_param
from cordee.emulator.ops.reference import Chapter
from cordee.emulator.ops.sources import page_of

chapter = Chapter(source=page_of("npu_weight_quant_batchmatmul"))

# Of the gated activations only swiglu's order of halves is written down (npu_swiglu's page).
ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": F.relu,
    "gelu": F.gelu,
    "silu": F.silu,
    "fastgelu": lambda x: x * torch.sigmoid(1.702 * x),
    "swiglu": lambda x: F.silu(x.chunk(2, -1)[0]) * x.chunk(2, -1)[1],
}


@chapter.reference("npu::npu_weight_quant_batchmatmul")
def npu_weight_quant_batchmatmul(
    x: Tensor,
    weight: Tensor,
    antiquant_scale: Tensor,
    antiquant_offset: Tensor | None = None,
    quant_scale: Tensor | None = None,
    quant_offset: Tensor | None = None,
    bias: Tensor | None = None,
    antiquant_group_size: int = 0,
    inner_precise: int = 0,
    weight_dtype: int | None = None,
) -> Tensor:
    """`weight` (k, n) is int8, or int4 eight to an int32; factors per tensor, column or group."""
    refuse("npu::npu_weight_quant_batchmatmul", weight_dtype=weight_dtype)
    if weight.dtype not in (torch.int8, torch.int32):
        raise NotEmulated(f"npu::npu_weight_quant_batchmatmul: weight in {weight.dtype}")
    k = x.shape[-1]
    whole = int4_weight(weight, k) if weight.dtype == torch.int32 else weight
    shift = None
    if antiquant_offset is not None:
        shift = _by_group(antiquant_offset, antiquant_group_size, k)
    factors = _by_group(antiquant_scale, antiquant_group_size, k)
    y = x.float() @ _restored(whole, factors, shift, x.dtype)
    if bias is not None:
        y = y + bias.float()
    if quant_scale is None:
        return y.to(x.dtype)
    if quant_scale.dtype == torch.int64:
        y_scale, y_shift = unpacked_quant_param(quant_scale)
    else:
        y_scale = quant_scale.float()
        y_shift = torch.zeros(()) if quant_offset is None else quant_offset.float()
    return format_named("int8").write(y * y_scale + y_shift)


@chapter.reference("npu::npu_ffn", source=page_of("npu_ffn"))
def npu_ffn(
    x: Tensor,
    weight1: Tensor,
    weight2: Tensor,
    activation: str,
    *,
    expert_tokens: Sequence[int] | None = None,
    expert_tokens_index: Sequence[int] | None = None,
    bias1: Tensor | None = None,
    bias2: Tensor | None = None,
    scale: Tensor | None = None,
    offset: Tensor | None = None,
    deq_scale1: Tensor | None = None,
    deq_scale2: Tensor | None = None,
    antiquant_scale1: Tensor | None = None,
    antiquant_scale2: Tensor | None = None,
    antiquant_offset1: Tensor | None = None,
    antiquant_offset2: Tensor | None = None,
    inner_precise: int | None = None,
    output_dtype: torch.dtype | None = None,
) -> Tensor:
    """activation(x @ weight1) @ weight2, quantised or with quantised weights, by expert."""
    require(2 <= x.dim() <= 8, f"x shape dims should be 2~8, but it is {x.dim()}")
    require(
        x.shape[-1] == weight1.shape[-2],
        (
            f"The k of x and weight should be equal. but x_k_dim is {x.shape[-1]}, "
            f"wight1_k_dim is {weight1.shape[-2]}"
        ),
    )
    require(
        expert_tokens is None or expert_tokens_index is None,
        "expert_tokens and expert_tokens_index should not have the value simultaneously.",
    )
    if activation not in ACTIVATIONS:
        raise NotEmulated(f"npu::npu_ffn: activation={activation!r}; {sorted(ACTIVATIONS)} are")
    narrow = _keeps_float16(x, weight1, deq_scale1, inner_precise)
    layers = (
        (weight1, bias1, deq_scale1, antiquant_scale1, antiquant_offset1),
        (weight2, bias2, deq_scale2, antiquant_scale2, antiquant_offset2),
    )
    rows = x.flatten(0, -2)
    outputs = rows.new_zeros(rows.shape[0], weight2.shape[-1], dtype=torch.float32)
    for expert, span in _spans(rows.shape[0], expert_tokens, expert_tokens_index):
        chosen = [[_of_expert(t, expert) for t in layer] for layer in layers]
        middle = _layer(rows[span], chosen[0], x.dtype, narrow)
        middle = _rounded(ACTIVATIONS[activation](middle), narrow)
        if scale is not None:
            middle = middle * _rounded(_of_expert(scale, expert), narrow)
            if offset is not None:
                shift = _rounded(_of_expert(offset, expert), narrow)
                middle = _rounded(middle, narrow) + shift
            middle = format_named("int8").write(_rounded(middle, narrow))
        outputs[span] = _layer(middle, chosen[1], x.dtype, narrow=False)
    dtype = x.dtype if deq_scale1 is None else output_dtype or torch.float16
    return outputs.to(dtype).reshape(*x.shape[:-1], -1)


def _layer(
    rows: Tensor, parts: Sequence[Tensor | None], dtype: torch.dtype, narrow: bool
) -> Tensor:
    """One linear layer in float32, from (weight, bias, deq_scale, antiquant scale and offset)."""
    weight, bias, deq_scale, antiquant_scale, antiquant_offset = parts
    assert weight is not None
    if deq_scale is not None:
        y = integer_product(rows, weight)
        y = (y if bias is None else y + bias).float()
        packed = deq_scale.dtype == torch.int64
        y = y * (unpacked_quant_param(deq_scale)[0] if packed else deq_scale.float())
        return _rounded(y, narrow)
    if antiquant_scale is not None:
        weight = _restored(weight, antiquant_scale, antiquant_offset, dtype)
    y = rows.float() @ weight.float()
    return _rounded(y if bias is None else y + bias.float(), narrow)


def _restored(weight: Tensor, scale: Tensor, offset: Tensor | None, dtype: torch.dtype) -> Tensor:
    """Dequantised `weight` as the matrix unit reads it: in `dtype`, given in float32.

    float16 weights are also restored in float16 (op-plugin
    test/test_custom_ops/test_npu_ffn.py, calc_ffn).
    """
    working = torch.float16 if dtype == torch.float16 else torch.float32
    restored = weight.to(working)
    if offset is not None:
        restored = restored + offset.to(working)
    return (restored * scale.to(working)).to(dtype).float()


def _keeps_float16(
    x: Tensor, weight: Tensor, deq_scale: Tensor | None, inner_precise: int | None
) -> bool:
    """Whether a feed-forward layer keeps what lies between its products in float16.

    Without quantisation `inner_precise` asks for it; with it, packed scales give float16
    (op-plugin test/test_custom_ops/test_npu_ffn.py).
    """
    if deq_scale is not None:
        return deq_scale.dtype == torch.int64
    return inner_precise == 1 and x.dtype == weight.dtype == torch.float16


def _rounded(values: Tensor, narrow: bool) -> Tensor:
    """float32 values, first rounded to float16 where `narrow`."""
    return values.half().float() if narrow else values.float()


def _spans(
    rows: int, tokens: Sequence[int] | None, ends: Sequence[int] | None
) -> list[tuple[int | None, slice]]:
    """The rows of each expert; all of them, for no expert in particular, without any."""
    if not tokens and not ends:
        return [(None, slice(0, rows))]
    stops = list(ends) if ends else torch.tensor(list(tokens or ())).cumsum(0).tolist()
    starts = [0, *stops[:-1]]
    return [(e, slice(a, b)) for e, (a, b) in enumerate(zip(starts, stops, strict=True))]


def _of_expert(tensor: Tensor | None, expert: int | None) -> Tensor:
    return tensor if tensor is None or expert is None else tensor[expert]  # type: ignore[return-value]


def _by_group(factors: Tensor, group: int, rows: int) -> Tensor:
    """Factors of a (rows, n) weight: one, one a column, or one a column in each group of rows."""
    factors = factors.float()
    if group and factors.dim() >= 2 and factors.shape[-2] > 1:
        return factors.repeat_interleave(group, -2)[..., :rows, :]
    return factors
