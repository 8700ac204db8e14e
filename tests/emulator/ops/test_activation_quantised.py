"""Quantised gated units against plain formulae."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from cordee.core.errors import NotEmulated
from cordee.emulator.ops import activation as activation
from cordee.emulator.ops.formats import format_named
from cordee.emulator.ops.reference import REFERENCES

E4M3 = 24


def run(name: str, *arguments: object, **options: object) -> tuple[Tensor, ...]:
    found = REFERENCES[f"npu::{name}"].function(*arguments, **options)
    assert isinstance(found, tuple)
    return found


@pytest.mark.parametrize(("kind", "index"), [(0, [2, 5]), (1, [2, 3])])
def test_swiglu_quant_smooths_each_group_and_multiplies_by_its_scale(
    kind: int, index: list[int]
) -> None:
    x, smooth = torch.randn(5, 16), torch.rand(2, 8)
    y, scale = run(
        "npu_swiglu_quant",
        x,
        smooth_scales=smooth,
        group_index=torch.tensor(index, dtype=torch.int32),
        quant_mode=1,
        group_list_type=kind,
    )
    gated = x[:, :8] * F.silu(x[:, 8:]) * smooth[[0, 0, 1, 1, 1]]
    torch.testing.assert_close(scale, 127 / gated.abs().amax(-1))
    assert torch.equal(y, torch.round(gated * scale.unsqueeze(-1)).to(torch.int8))


def test_swiglu_quant_packs_two_int4_into_a_byte() -> None:
    x = torch.randn(3, 16)
    y, scale = run("npu_swiglu_quant", x, activate_left=True, quant_mode=1, dst_type=torch.quint4x2)
    gated = F.silu(x[:, :8]) * x[:, 8:]
    expected = torch.round(gated * scale.unsqueeze(-1)).int()
    assert y.shape == (3, 4)
    for row in range(3):
        halves = [n for byte in y[row].tolist() for n in ((byte & 255) & 15, (byte & 255) >> 4)]
        assert [n - 16 if n > 7 else n for n in halves] == expected[row].tolist()


def test_swiglu_quant_can_be_static() -> None:
    x, smooth, shift = torch.randn(3, 16), torch.rand(1, 8) * 30, torch.rand(1, 8)
    y, _ = run("npu_swiglu_quant", x, smooth_scales=smooth, offsets=shift)
    expected = torch.round(x[:, :8] * F.silu(x[:, 8:]) * smooth + shift)
    assert torch.equal(y, expected.clamp(-128, 127).to(torch.int8))


@pytest.mark.parametrize("mode", [0, 1, 2])
def test_dequant_swiglu_quant_restores_activates_and_quantises(mode: int) -> None:
    x = torch.randint(-20, 20, (6, 16), dtype=torch.int32)
    weight, rows, smooth = torch.rand(2, 16), torch.rand(6, 1), torch.rand(2, 8)
    y, scale = run(
        "npu_dequant_swiglu_quant",
        x,
        weight_scale=weight,
        activation_scale=rows,
        quant_scale=smooth,
        group_index=torch.tensor([2, 3]),
        activate_left=True,
        quant_mode=1,
        swiglu_mode=mode,
        clamp_limit=2.0,
        glu_alpha=1.5,
        glu_bias=0.5,
    )
    groups = [0, 0, 1, 1, 1]
    real = x[:5] * weight[groups] * rows[:5]
    gate, linear = (real[:, ::2], real[:, 1::2]) if mode == 1 else (real[:, :8], real[:, 8:])
    if mode:
        gate, linear = gate.clamp(max=2), linear.clamp(-2, 2) + 0.5
        gated = gate * torch.sigmoid(1.5 * gate) * linear
    else:
        gated = F.silu(gate) * linear
    gated = gated * smooth[groups]
    torch.testing.assert_close(scale[:5], gated.abs().amax(-1) / 127)
    assert (y[:5] - torch.round(gated / scale[:5, None])).abs().max() <= 1


def test_dequant_swiglu_quant_names_what_it_lacks() -> None:
    with pytest.raises(NotEmulated, match="dst_type"):
        run("npu_dequant_swiglu_quant", torch.randn(2, 8).half(), dst_type=296)


def test_gelu_quant_is_gelu_and_then_a_quantisation() -> None:
    x, scale, shift = torch.randn(4, 8) * 20, torch.rand(8), torch.rand(8)
    y, none = run("npu_gelu_quant", x, input_scale=scale, input_offset=shift, quant_mode="static")
    expected = torch.round(F.gelu(x) * scale + shift).clamp(-128, 127)
    assert torch.equal(y.float(), expected)
    assert none is None
    y, found = run("npu_gelu_quant", x, input_scale=scale)
    torch.testing.assert_close(found, (F.gelu(x) * scale).abs().amax(-1) / 127)
    assert y.abs().amax(-1).tolist() == [127] * 4


@pytest.mark.parametrize("limit", [0.0, 0.5])
def test_the_backward_of_a_grouped_quantisation_is_that_of_the_weighted_unit(limit: float) -> None:
    x = torch.randn(5, 16, requires_grad=True)
    weight = torch.rand(5, 1, requires_grad=True)
    gate, linear = x.chunk(2, -1)
    if limit:
        gate, linear = gate.clamp(max=limit), linear.clamp(-limit, limit)
    y = F.silu(gate) * linear
    dy = torch.randn(5, 8)
    kept = torch.tensor([1.0, 1, 1, 0, 0]).unsqueeze(-1)
    expected = torch.autograd.grad(y * weight, (x, weight), dy * kept)
    found = run(
        "npu_swiglu_group_quant_backward",
        dy,
        x.detach(),
        weight=weight.detach(),
        y_origin=y.detach(),
        group_index=torch.tensor([2, 1]),
        clamp_limit=limit,
    )
    torch.testing.assert_close(found, expected)


def test_swiglu_in_blocks_shares_powers_of_two() -> None:
    x = torch.ones(4, 8).bfloat16()
    y, scales = run("npu_swiglu_mx_quant", x)
    # silu(1) = 0.73 is 5.85 * 2^-3, which 4 bits hold as 6.
    assert y.tolist() == [[119, 119]] * 4
    assert scales.tolist() == [[[124, 0]]] * 4


def test_the_gradient_in_blocks_is_that_of_the_published_example() -> None:
    x, dy = torch.ones(4, 64).bfloat16(), torch.ones(4, 32).bfloat16()
    y1, scale1, y2, scale2 = run(
        "_npu_swiglu_backward_mx_quant_with_dual_axis", x, dy, group_index=torch.tensor([2, 4])
    )
    row = [240.0] * 32 + [384.0] * 32
    assert y1.float().tolist() == [row] * 4
    assert y2.float().tolist() == [row] * 4
    assert scale1.tolist() == [[[119, 118]]] * 4
    assert scale2.tolist() == [[[119, 0]] * 32 + [[118, 0]] * 32] * 2


def test_both_directions_of_blocks_restore_the_unit() -> None:
    x = torch.randn(70, 128).bfloat16()
    y1, scale1, y2, scale2 = run("npu_swiglu_mx_quant_with_dual_axis", x, dst_type=E4M3)
    exact = F.silu(x.float()[:, :64]) * x.float()[:, 64:]
    by_row = 2.0 ** (scale1.flatten(1).float() - 127)
    restored = y1.float() * by_row.repeat_interleave(32, 1)
    torch.testing.assert_close(restored, exact, atol=0.2, rtol=0.1)
    by_column = 2.0 ** (scale2.transpose(1, 2).flatten(0, 1).float() - 127)
    restored = y2.float() * by_column.repeat_interleave(32, 0)[:70]
    torch.testing.assert_close(restored, exact, atol=0.2, rtol=0.1)
    assert format_named("float8_e4m3fn").storage == y1.dtype
