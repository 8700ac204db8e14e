"""npu_grouped_matmul and its accumulating form."""

from collections.abc import Callable

import torch
from torch import Tensor

from cordee.core.errors import NotEmulated
from cordee.emulator.ops.contract import refuse, unwritten
from cordee.emulator.ops.demands import require
from cordee.emulator.ops.formats import format_of
from cordee.emulator.ops.grouped_matmul.groups import (
    groups_of,
    int8_times_int4,
    product,
    unpacked,
)
from cordee.emulator.ops.quantisation.scales import scale_offset, scale_values
from cordee.emulator.ops.reference import Chapter
from cordee.emulator.ops.sources import page_of

chapter = Chapter(source=page_of("npu_grouped_matmul"))

NO_GROUPS, ROWS, INNER = -1, 0, 2

Tensors = list[Tensor] | None

ACTIVATIONS: dict[int, Callable[[Tensor], Tensor]] = {
    0: lambda y: y,
    1: torch.relu,
    2: lambda y: torch.nn.functional.gelu(y, approximate="tanh"),
    4: lambda y: y * torch.sigmoid(1.702 * y),  # FAST_GELU
    5: torch.nn.functional.silu,
}


@chapter.reference("npu::npu_grouped_matmul")
def grouped_matmul(
    x: list[Tensor],
    weight: list[Tensor],
    bias: Tensors = None,
    scale: Tensors = None,
    offset: Tensors = None,
    antiquant_scale: Tensors = None,
    antiquant_offset: Tensors = None,
    per_token_scale: Tensors = None,
    group_list: Tensor | None = None,
    activation_input: Tensors = None,
    activation_quant_scale: Tensors = None,
    activation_quant_offset: Tensors = None,
    split_item: int | None = 0,
    group_type: int | None = None,
    group_list_type: int | None = 0,
    act_type: int | None = 0,
    tuning_config: list[int] | None = None,
    output_dtype: int | None = None,
    x_dtype: int | None = None,
    weight_dtype: int | None = None,
    scale_dtype: int | None = None,
    per_token_scale_dtype: int | None = None,
) -> list[Tensor]:
    """The product of each group of `x` with its weight: one tensor or one for each group."""
    require(
        group_type in (NO_GROUPS, ROWS, INNER),
        (
            "Requires manual passing group_type"
            if group_type is None
            else f"The group type must be -1, 0 or 2, not {group_type}"
        ),
    )
    _check_lists(x, weight, split_item)
    refuse(
        "npu_grouped_matmul",
        offset=offset or None,
        activation_input=activation_input or None,
        activation_quant_scale=activation_quant_scale or None,
        activation_quant_offset=activation_quant_offset or None,
        x_dtype=x_dtype,
        weight_dtype=weight_dtype,
        scale_dtype=scale_dtype,
        per_token_scale_dtype=per_token_scale_dtype,
    )
    if act_type not in (None, *ACTIVATIONS):
        raise NotEmulated(f"npu_grouped_matmul: act_type={act_type} is not emulated")
    dtype = x[0].dtype if output_dtype is None else format_of(output_dtype).storage
    lists = (bias, scale, antiquant_scale, antiquant_offset, per_token_scale)
    lefts, rights, which, rows = _pairs(x, weight, group_list, group_type, group_list_type or 0)
    ys = []
    for left, right, number, (start, end) in zip(lefts, rights, which, rows, strict=True):
        own = [_own(given, number, start, end) for given in lists[:-1]]
        per_token = _own_rows(per_token_scale, number, start, end)
        y = _product(left, right, own, per_token, dtype)
        ys.append(ACTIVATIONS[act_type or 0](y).to(dtype))
    return _arranged(ys, x, group_type, split_item or 0)


@chapter.reference("npu::npu_grouped_matmul.List")
def grouped_matmul_list(
    x: list[Tensor],
    weight: list[Tensor],
    bias: Tensors = None,
    scale: Tensors = None,
    offset: Tensors = None,
    antiquant_scale: Tensors = None,
    antiquant_offset: Tensors = None,
    per_token_scale: Tensors = None,
    group_list: list[int] | None = None,
    activation_input: Tensors = None,
    activation_quant_scale: Tensors = None,
    activation_quant_offset: Tensors = None,
    split_item: int | None = 0,
    group_type: int | None = None,
    group_list_type: int | None = 0,
    act_type: int | None = 0,
    output_dtype: torch.dtype | None = None,
) -> list[Tensor]:
    """`grouped_matmul` with the groups' ends as numbers; only rows are grouped."""
    refuse("npu_grouped_matmul.List", per_token_scale=per_token_scale or None)
    _check_lists(x, weight, split_item)
    ends = torch.tensor(group_list, dtype=torch.int64) if group_list else None
    dtype = x[0].dtype if output_dtype is None else output_dtype
    kind = ROWS if ends is not None and len(x) == 1 else NO_GROUPS
    lefts, rights, which, _ = _pairs(x, weight, ends, kind, 0)
    ys = []
    for left, right, number in zip(lefts, rights, which, strict=True):
        own = [_own(given, number, 0, 0) for given in (bias, scale, antiquant_scale)]
        own.append(_own(antiquant_offset, number, 0, 0))
        ys.append(_product(left, right, own, None, dtype).to(dtype))
    return _arranged(ys, x, kind, split_item or 0)


@chapter.reference("npu::npu_grouped_matmul_add")
def grouped_matmul_add(
    input: Tensor,
    x: Tensor,
    weight: Tensor,
    group_list: Tensor,
    transpose_x: bool = True,
    transpose_weight: bool = False,
    group_type: int = 2,
    group_list_type: int | None = 0,
) -> Tensor:
    """`input` after `grouped_matmul_add_`, and a copy of it: the vendor's form adds in place too."""
    grouped_matmul_add_(
        input, x, weight, group_list, transpose_x, transpose_weight, group_type, group_list_type
    )
    return input.clone()


@chapter.reference("npu::npu_grouped_matmul_add_")
def grouped_matmul_add_(
    input: Tensor,
    x: Tensor,
    weight: Tensor,
    group_list: Tensor,
    transpose_x: bool = True,
    transpose_weight: bool = False,
    group_type: int = 2,
    group_list_type: int | None = 0,
) -> Tensor:
    """Add to `input` [groups * m, n] the product of each group of x [k, m] and weight [k, n]."""
    refuse(
        "npu_grouped_matmul_add_",
        transpose_x=not transpose_x,
        transpose_weight=transpose_weight,
        group_type=group_type != INNER,
    )
    sums = input.view(group_list.shape[0], x.shape[1], weight.shape[1])
    for number, (_, start, end) in enumerate(groups_of(group_list, group_list_type or 0)):
        sums[number] += product(x[start:end].T, weight[start:end]).to(input.dtype)
    return input


def _check_lists(x: list[Tensor], weight: list[Tensor], split_item: int | None) -> None:
    require(bool(x) and bool(weight), "Invalid inputs: neither x nor weight could be empty")
    require(split_item in (None, 0, 1, 2, 3), f"split_item is {split_item}, not one of 0/1/2/3")


Pairs = tuple[list[Tensor], list[Tensor], list[int], list[tuple[int, int]]]


def _pairs(
    x: list[Tensor],
    weight: list[Tensor],
    group_list: Tensor | None,
    group_type: int | None,
    kind: int,
) -> Pairs:
    """What is multiplied with what: left and right sides, their numbers, and the rows of x."""
    if len(x) > 1 or group_type == NO_GROUPS or group_list is None:
        numbers = list(range(len(x)))
        rows = [(0, left.shape[0]) for left in x]
        return list(x), [unpacked(right) for right in weight], numbers, rows
    groups = groups_of(group_list, kind)
    which = [number for number, _, _ in groups]
    rows = [(start, end) for _, start, end in groups]
    if group_type == INNER:
        lefts = [x[0][:, start:end] for start, end in rows]
        if len(weight) > 1:
            return lefts, [unpacked(right) for right in weight], which, rows
        return lefts, [unpacked(weight[0])[start:end] for start, end in rows], which, rows
    lefts = [unpacked(x[0])[start:end] for start, end in rows]
    single = unpacked(weight[0]) if len(weight) == 1 and weight[0].dim() == 3 else None
    rights = [unpacked(weight[number]) if single is None else single[number] for number in which]
    return lefts, rights, which, rows


def _own(given: Tensors, number: int, start: int, end: int) -> Tensor | None:
    """What group `number` has of a list with one tensor for each group, or one for all."""
    if not given:
        return None
    return given[number] if len(given) > 1 or given[0].dim() < 2 else given[0][number]


def _own_rows(given: Tensors, number: int, start: int, end: int) -> Tensor | None:
    if not given:
        return None
    return given[number] if len(given) > 1 else given[0][start:end]


def _product(
    x: Tensor,
    weight: Tensor,
    parameters: list[Tensor | None],
    per_token: Tensor | None,
    dtype: torch.dtype,
) -> Tensor:
    """One group's product by the formula its types choose, still in float32."""
    bias, scale, antiquant_scale, antiquant_offset = parameters
    if x.is_floating_point():
        y = product(x, _dequantised(weight, x.dtype, antiquant_scale, antiquant_offset))
        y = y if per_token is None else y * per_token.float().reshape(-1, 1)
        return y if bias is None else y + bias.float()
    return _quantised(x, weight, bias, scale, per_token, dtype)


def _dequantised(
    weight: Tensor, dtype: torch.dtype, scale: Tensor | None, offset: Tensor | None
) -> Tensor:
    """(weight + offset) * scale, with one scale for each column or for each block of rows."""
    if scale is None:
        return weight
    count = 1 if scale.dim() == 1 else scale.shape[0]
    blocks = weight.float().reshape(count, -1, weight.shape[1])
    scale = scale.float().reshape(blocks.shape[0], 1, -1)
    if offset is not None:
        blocks = blocks + offset.float().reshape(blocks.shape[0], 1, -1)
    # The weights meet x in the type of x.
    return (blocks * scale).flatten(0, 1).to(dtype)


def _quantised(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    scale: Tensor | None,
    per_token: Tensor | None,
    dtype: torch.dtype,
) -> Tensor:
    y = product(x, weight)
    if bias is not None and not bias.is_floating_point():
        y = y + bias.float()
    shift: Tensor | float = 0.0
    if scale is not None:
        values = scale_values(scale)
        if values.dim() == 2 and values.shape[0] > 1:
            if bias is None:
                raise NotEmulated("npu_grouped_matmul: int4 weight scaled by blocks without bias")
            y, bias = int8_times_int4(x, weight, values, bias), None
        else:
            y, shift = y * values, scale_offset(scale)
    if per_token is not None:
        y = y * per_token.float().reshape(-1, 1)
    if bias is not None and bias.is_floating_point():
        y = y + bias.float()
    if dtype == torch.int8:
        return (y.round() + shift).clamp(-128, 127)
    return y


def _arranged(
    ys: list[Tensor], x: list[Tensor], group_type: int | None, split_item: int
) -> list[Tensor]:
    """The groups' products as `split_item` wants them: one by one, or in one tensor."""
    if split_item in (0, 1):
        return ys
    if group_type == INNER:
        return [torch.stack(ys)]
    rows = sum(left.shape[0] for left in x)
    y = unwritten((rows, ys[0].shape[1]), ys[0].dtype)
    done = torch.cat(ys)[:rows]
    y[: len(done)] = done
    return [y]
