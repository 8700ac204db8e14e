"""Quantised matrix products against exact integer products."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from cordee.core.errors import NotEmulated
from cordee.emulator.ops import matmul as matmul
from cordee.emulator.ops import quantisation as quantisation
from cordee.emulator.ops.reference import REFERENCES

INT8, INT32, HALF, FLOAT, BFLOAT16 = 1, 3, 5, 6, 15


def run(name: str, *arguments: object, **options: object) -> Tensor:
    found = REFERENCES[f"npu::{name}"].function(*arguments, **options)
    assert isinstance(found, Tensor)
    return found


def bytes_of(*shape: int) -> Tensor:
    return torch.randint(-128, 128, shape, dtype=torch.int8)


def packed(whole: Tensor) -> Tensor:
    """Eight 4-bit numbers to an int32, built byte by byte."""
    rows = whole.reshape(-1, whole.shape[-1]).tolist()
    words = [
        [
            int.from_bytes(
                bytes((row[i + j] & 15) | (row[i + j + 1] & 15) << 4 for j in range(0, 8, 2)),
                "little",
                signed=True,
            )
            for i in range(0, len(row), 8)
        ]
        for row in rows
    ]
    return torch.tensor(words, dtype=torch.int32).reshape(*whole.shape[:-1], -1)


def test_the_product_of_int8_is_exact_whatever_its_size() -> None:
    x1, x2 = bytes_of(4, 3000), bytes_of(3000, 8)
    found = run("npu_quant_matmul", x1, x2, torch.ones(1), output_dtype=INT32)
    assert torch.equal(found.long(), x1.long() @ x2.long())


def test_a_scale_per_column_and_per_row_meet() -> None:
    x1, x2 = bytes_of(2, 4, 16), bytes_of(16, 8)
    scale, rows = torch.rand(8), torch.rand(4)
    found = run("npu_quant_matmul", x1, x2, scale, pertoken_scale=rows, output_dtype=BFLOAT16)
    expected = (x1.double() @ x2.double()) * scale.double() * rows.double().unsqueeze(-1)
    torch.testing.assert_close(found, expected.bfloat16())


def test_an_int32_bias_joins_before_the_scale_and_a_float_bias_after() -> None:
    x1, x2, scale = bytes_of(4, 16), bytes_of(16, 8), torch.rand(8)
    whole = torch.randint(-1000, 1000, (8,), dtype=torch.int32)
    product = x1.double() @ x2.double()
    before = run("npu_quant_matmul", x1, x2, scale, bias=whole, output_dtype=BFLOAT16)
    torch.testing.assert_close(before, ((product + whole) * scale).bfloat16())
    after = run("npu_quant_matmul", x1, x2, scale, bias=whole.float(), output_dtype=BFLOAT16)
    torch.testing.assert_close(after, (product * scale + whole).bfloat16())


def test_without_row_scales_a_float32_scale_keeps_ten_bits_of_mantissa() -> None:
    x1, x2 = torch.ones(1, 1, dtype=torch.int8), torch.ones(1, 1, dtype=torch.int8)
    scale = torch.tensor([1 + 2**-10 + 2**-11])
    found = run("npu_quant_matmul", x1 * 64, x2, scale, output_dtype=HALF)
    assert found.item() == 64 * (1 + 2**-10)


def test_an_int8_result_is_shifted_and_saturated() -> None:
    x1, x2 = bytes_of(4, 16), bytes_of(16, 8)
    scale, offset = torch.full((8,), 2.0**-7), torch.full((8,), 5.0)
    found = run("npu_quant_matmul", x1, x2, scale, offset=offset)
    expected = torch.round((x1.double() @ x2.double()) * 2.0**-7) + 5
    assert torch.equal(found.double(), expected.clamp(-128, 127))


@pytest.mark.parametrize("along_k", [False, True])
def test_int4_may_be_packed_along_either_axis_of_x2(along_k: bool) -> None:
    x1, x2 = torch.randint(-8, 8, (4, 16)), torch.randint(-8, 8, (16, 24))
    weight = packed(x2.T.contiguous()).T if along_k else packed(x2)
    found = run("npu_quant_matmul", packed(x1), weight, torch.ones(1), output_dtype=INT32)
    assert torch.equal(found.long(), x1 @ x2)


def test_int4_in_groups_shifts_and_scales_each_group_of_rows() -> None:
    x1, x2 = torch.randint(-8, 8, (4, 16)), torch.randint(-8, 8, (16, 8))
    scale, shift = torch.rand(2, 8), torch.randint(-4, 4, (2, 8)).half()
    rows = torch.rand(4, 1)
    expected = torch.zeros(4, 8)
    for group in range(2):
        part = slice(8 * group, 8 * group + 8)
        expected += (x1[:, part].float() @ (x2[part] - shift[group]).float()) * scale[group]
    found = run(
        "npu_quant_matmul",
        packed(x1),
        packed(x2),
        scale,
        offset=shift,
        pertoken_scale=rows,
        output_dtype=BFLOAT16,
        group_sizes=[0, 0, 8],
    )
    torch.testing.assert_close(found, (expected * rows).bfloat16())


def test_int8_times_int4_counts_on_the_callers_offset_for_its_shift() -> None:
    x1, x2 = bytes_of(2, 16), torch.randint(-8, 8, (16, 8))
    scale, rows = torch.rand(2, 8), torch.rand(2, 1)
    weight = x2 * scale.repeat_interleave(8, 0)
    makes_up = 8 * weight.sum(0)
    found = run(
        "npu_quant_matmul",
        x1,
        packed(x2),
        scale,
        offset=makes_up,
        pertoken_scale=rows,
        output_dtype=BFLOAT16,
        group_sizes=[0, 0, 8],
    )
    torch.testing.assert_close(found, (x1.float() @ weight * rows).bfloat16())


@pytest.mark.parametrize("approximate", ["erf", "tanh"])
def test_the_gelu_form_activates_the_dequantised_product(approximate: str) -> None:
    x1, x2 = bytes_of(4, 16), bytes_of(16, 8)
    rows, columns = torch.rand(4) / 100, torch.rand(8) / 100
    name = f"gelu_{approximate}"
    found = run("npu_quant_matmul_gelu", x1, x2, rows, columns, approximate=name)
    y = (x1.double() @ x2.double()) * columns * rows.unsqueeze(-1)
    expected = F.gelu(y, approximate="none" if approximate == "erf" else "tanh")
    torch.testing.assert_close(found, expected.half())


def test_the_summing_form_adds_up_the_batch() -> None:
    x1, x2 = bytes_of(3, 4, 16), bytes_of(3, 16, 8)
    rows, columns = torch.rand(3, 4), torch.rand(8)
    found = run("npu_quant_matmul_reduce_sum", x1, x2, x1_scale=rows, x2_scale=columns)
    expected = torch.zeros(4, 8, dtype=torch.float64)
    for batch in range(3):
        expected += (x1[batch].double() @ x2[batch].double()) * rows[batch].unsqueeze(-1)
    torch.testing.assert_close(found, (expected * columns).bfloat16(), atol=1, rtol=1e-2)


def test_the_adding_form_accumulates_in_its_first_argument() -> None:
    x1 = torch.randn(4, 16).to(torch.float8_e4m3fn)
    x2 = torch.randn(16, 8).to(torch.float8_e4m3fn)
    total = torch.ones(4, 8)
    expected = 1 + x1.float() @ x2.float() * 2
    found = run("npu_add_quant_matmul", total, x1, x2, torch.tensor([2.0]))
    torch.testing.assert_close((found, total), (expected, torch.ones(4, 8)))
    run("npu_add_quant_matmul_", total, x1, x2, torch.tensor([2.0]))
    torch.testing.assert_close(total, expected)


def test_x_is_quantised_on_the_way_a_row_of_zeros_too() -> None:
    x, weight, scale = torch.randn(4, 16).half(), bytes_of(8, 16), torch.rand(8) / 100
    x[1] = 0
    found = run("npu_quant_matmul_dequant", x, weight, scale)
    step = x.float().abs().amax(-1, keepdim=True) / 127 / 2
    bound = step * (weight.float().abs().sum(1) * scale) + 1e-2
    assert bool(((found - x.float() @ weight.float().T * scale).abs() <= bound).all())


def test_a_scale_of_64_bits_has_that_of_the_rows_in_it() -> None:
    x, weight, scale = torch.randn(4, 16).half(), bytes_of(8, 16), torch.rand(8) / 100
    rows = torch.tensor([0.02])
    expected = run(
        "npu_quant_matmul_dequant", x, weight, scale, x_scale=rows, quant_mode="pertensor"
    )
    packed = (scale * rows).view(torch.int32).long()
    found = run("npu_quant_matmul_dequant", x, weight, packed, x_scale=rows, quant_mode="pertensor")
    torch.testing.assert_close(found, expected)


def test_an_argument_that_is_not_emulated_is_named() -> None:
    with pytest.raises(NotEmulated, match="x1_dtype"):
        run("npu_quant_matmul", bytes_of(2, 8), bytes_of(8, 8), torch.ones(1), x1_dtype=290)
