"""Quantisation in blocks and after rotations, against loops over blocks."""

import math

import pytest
import torch
from torch import Tensor

from cordee.core.errors import NotEmulated
from cordee.emulator.ops import quantisation as quantisation
from cordee.emulator.ops.formats import format_named, format_of
from cordee.emulator.ops.reference import REFERENCES

E5M2, E4M3, E2M1, QUINT4X2 = 23, 24, 296, 16


def run(name: str, *arguments: object, **options: object) -> tuple[Tensor, ...]:
    found = REFERENCES[f"npu::{name}"].function(*arguments, **options)
    return found if isinstance(found, tuple) else (found,)


def by_hand(block: list[float], name: str) -> tuple[int, list[float]]:
    """The shared exponent's code and the numbers of one block (OCP microscaling 1.0, 6.3)."""
    written = format_named(name)
    most = max(abs(value) for value in block)
    if most == 0:
        return 0, block
    code = math.floor(math.log2(most)) - math.floor(math.log2(written.largest)) + 127
    scale = 2.0 ** (code - 127)
    return code, written.on_grid(torch.tensor(block) / scale).tolist()


@pytest.mark.parametrize("code", [E5M2, E4M3, E2M1])
@pytest.mark.parametrize("axis", [-1, 0])
def test_a_block_shares_the_exponent_of_its_largest_value(code: int, axis: int) -> None:
    x = (torch.randn(70, 80) * torch.logspace(-3, 3, 80)).bfloat16()
    written = format_of(code)
    y, scales = run("npu_dynamic_mx_quant", x, axis=axis, dst_type=code)
    stored = y.view(written.storage) if written.per_item > 1 else y
    numbers = written.read(stored)
    rows = x if axis == -1 else x.T
    found = numbers if axis == -1 else numbers.T
    codes = scales.flatten(1) if axis == -1 else scales.movedim(-1, 1).flatten(0, 1).T
    for row in range(0, rows.shape[0], 7):
        for start in range(0, rows.shape[1], 32):
            shared, expected = by_hand(rows[row, start : start + 32].float().tolist(), written.name)
            assert int(codes[row, start // 32]) == shared
            assert found[row, start : start + 32].tolist() == expected
    assert codes.shape[1] % 2 == 0


def test_the_second_way_to_find_a_scale_lets_the_largest_value_fit() -> None:
    x = (torch.randn(4, 64) * 100).bfloat16()
    y, scales = run("npu_dynamic_mx_quant", x, dst_type=E4M3, scale_alg=1)
    scale = 2.0 ** (scales.flatten(1).float() - 127)
    most = x.float().abs().unflatten(1, (2, 32)).amax(-1)
    assert bool((most <= 448 * scale).all())
    assert bool((most > 448 * scale / 2).all())
    restored = y.float() * scale.repeat_interleave(32, 1)
    torch.testing.assert_close(restored, x.float(), rtol=0.07, atol=1)


def test_a_way_to_find_a_scale_that_is_not_emulated_is_named() -> None:
    with pytest.raises(NotEmulated, match="scale_alg=2"):
        run("npu_dynamic_mx_quant", torch.randn(2, 32).half(), scale_alg=2, dst_type_max=6.0)


def test_both_axes_at_once_are_each_axis_alone() -> None:
    x = torch.randn(40, 96).half()
    both = run("npu_dynamic_mx_quant_with_dual_axis", x, dst_type=E5M2)
    alone = [run("npu_dynamic_mx_quant", x, axis=axis, dst_type=E5M2) for axis in (-1, -2)]
    for found, expected in zip(both, (*alone[0], *alone[1]), strict=True):
        assert torch.equal(found.view(torch.uint8), expected.view(torch.uint8))


def test_a_square_of_values_shares_one_scale() -> None:
    x = torch.randn(33, 96).half()
    _, by_row, by_column = run("npu_dynamic_block_mx_quant", x, dst_type=E4M3)
    assert (tuple(by_row.shape), tuple(by_column.shape)) == ((33, 2, 2), (1, 96, 2))
    for row in range(33):
        for column in range(0, 96, 32):
            first = row // 32 * 32
            square = x[first : first + 32, column : column + 32].float().flatten().tolist()
            shared, _ = by_hand(square, "float8_e4m3fn")
            assert by_row.flatten(1)[row, column // 32] == shared
            assert by_column[0, column, row // 32] == shared


def test_blocks_can_be_restored() -> None:
    x = torch.randn(3, 100).bfloat16()
    y, scales = run("npu_dynamic_mx_quant", x, dst_type=E4M3)
    (found,) = run("npu_anti_mx_quant", y, scales, src_type=292)
    # The largest value of a block may saturate: 511 of 512 becomes 448.
    torch.testing.assert_close(found, x, atol=0.02, rtol=0.13)


def test_two_levels_of_scales_restore_the_values() -> None:
    x = (torch.randn(2, 600) * 50).bfloat16()
    y, level0, level1 = run("npu_dynamic_dual_level_mx_quant", x)
    assert (tuple(y.shape), tuple(level0.shape), tuple(level1.shape)) == (
        (2, 300),
        (2, 2),
        (2, 10, 2),
    )
    numbers = format_named("float4_e2m1").read(y.view(torch.float4_e2m1fn_x2))
    inner = (2.0 ** (level1.flatten(1).float() - 127)).repeat_interleave(32, 1)[:, :600]
    restored = numbers * inner * level0.repeat_interleave(512, 1)[:, :600]
    assert (restored - x.float()).abs().mean() < 0.15 * x.float().abs().mean()


@pytest.mark.parametrize(("rows", "columns"), [(1, 128), (2, 3)])
def test_a_rectangle_of_values_shares_one_scale(rows: int, columns: int) -> None:
    x = torch.randn(5, 7).half()
    y, scale = run("npu_dynamic_block_quant", x, row_block_size=rows, col_block_size=columns)
    assert scale.shape == (math.ceil(5 / rows), math.ceil(7 / columns))
    for i in range(5):
        for j in range(7):
            top, left = i // rows * rows, j // columns * columns
            most = x[top : top + rows, left : left + columns].float().abs().max() / 127
            assert scale[i // rows, j // columns].item() == pytest.approx(most.item(), rel=1e-6)
            assert abs(y[i, j].item() - x[i, j].item() / most.item()) <= 0.51


def test_rotate_quant_turns_each_run_of_columns() -> None:
    x, rotation = torch.randn(3, 16).bfloat16(), torch.randn(8, 8).bfloat16()
    y, scale = run("npu_rotate_quant", x, rotation)
    turned = torch.cat([part.float() @ rotation.float() for part in x.chunk(2, 1)], 1)
    turned = turned.bfloat16().float()
    torch.testing.assert_close(scale, turned.abs().amax(-1) / 127)
    assert torch.equal(y, torch.round(turned / scale[:, None]).to(torch.int8))


def test_kronecker_quant_multiplies_from_both_sides() -> None:
    x, p1, p2 = torch.randn(2, 3, 8).half(), torch.randn(3, 3).half(), torch.randn(8, 8).half()
    y, scale = run("npu_kronecker_quant", x, p1, p2, 0.9)
    turned = p1.double() @ x.double() @ p2.double()
    expected = turned.abs().amax((1, 2)) / (7 * 0.9)
    torch.testing.assert_close(scale, expected.float(), rtol=5e-3, atol=5e-3)
    numbers = format_named("int4").read(y)
    assert (numbers - torch.round(turned / expected[:, None, None]).clamp(-8, 7)).abs().max() <= 1


def test_quant_max_gives_the_largest_magnitude_of_each_group() -> None:
    x, scale = torch.randn(5, 4), torch.rand(3) + 0.5
    ends = torch.tensor([2, 2, 5])
    y, most = run("npu_quant_max", x, scale, group_list=ends)
    expected = torch.cat((x[:2] / scale[0], x[2:] / scale[2]))
    assert torch.equal(y.view(torch.uint8), expected.to(torch.float8_e5m2).view(torch.uint8))
    assert most.tolist() == [x[:2].abs().max().item(), 0.0, x[2:].abs().max().item()]


def test_the_searched_scale_has_the_least_squared_error() -> None:
    x = torch.randn(400)
    counts = torch.histc(x, 128).cumsum(0).int()
    bounds = (x.min().reshape(1), x.max().reshape(1), counts, 0.999999, 0.999999, 0.7, 1.3, 0.01)
    scale, offset = run("npu_ifmr", x, *bounds, False)

    def error(scale: float) -> float:
        whole = torch.round(x / scale).clamp(-128, 127)
        return float((whole * scale - x).square().sum())

    assert offset.item() == 0
    assert error(scale.item()) <= min(error(x.abs().max().item() / 127 * f) for f in (0.8, 1, 1.2))


def test_weights_are_packed_eight_to_an_int32() -> None:
    whole = torch.randint(-8, 8, (3, 16), dtype=torch.int32)
    (found,) = run("npu_convert_weight_to_int4pack", whole)
    for row in range(3):
        for word in range(2):
            for place in range(8):
                nibble = int(found[row, word]) >> 4 * place & 15
                assert nibble == int(whole[row, 8 * word + place]) & 15


def test_dequant_bias_scales_columns_and_rows() -> None:
    x = torch.randint(-99, 99, (3, 4), dtype=torch.int32)
    columns, rows, bias = torch.rand(4), torch.rand(3), torch.rand(4)
    (found,) = run("npu_dequant_bias", x, columns, rows, bias, output_dtype=torch.bfloat16)
    torch.testing.assert_close(found, (x * columns * rows[:, None] + bias).bfloat16())


def test_per_channel_quantisation_writes_into_its_result() -> None:
    x, scales = torch.randn(2, 3), torch.rand(3) + 0.1
    zeros = torch.tensor([1, 2, 3], dtype=torch.int32)
    result = torch.zeros(2, 3, dtype=torch.int8)
    run("_quantize_per_channel_impl.out", x, scales, zeros, 1, torch.qint8, result=result)
    assert torch.equal(result, (torch.round(x / scales) + zeros).to(torch.int8))
