"""Convolutions against PyTorch's own, and their backwards against autograd."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from cordee.core.errors import NotEmulated
from cordee.emulator.ops import convolution as convolution
from cordee.emulator.ops.reference import REFERENCES


def run(name: str, *arguments: object, **options: object) -> tuple[Tensor, ...]:
    found = REFERENCES[f"npu::{name}"].function(*arguments, **options)
    return found if isinstance(found, tuple) else (found,)


def two(value: int) -> list[int]:
    return [value, value]


@pytest.mark.parametrize("name", ["npu_conv2d", "npu_convolution"])
def test_a_convolution_and_its_gradients(name: str) -> None:
    x = torch.randn(2, 4, 9, 8, requires_grad=True)
    weight, bias = torch.randn(6, 2, 3, 3, requires_grad=True), torch.randn(6, requires_grad=True)
    steps = (two(2), two(1), two(1), 2)
    expected = F.conv2d(x, weight, bias, *steps)
    torch.testing.assert_close(run(name, x, weight, bias, *steps)[0], expected)
    out = torch.empty_like(expected)
    run("npu_conv2d.out", x.detach(), weight.detach(), bias.detach(), *steps, out=out)
    torch.testing.assert_close(out, expected)
    grad = torch.randn_like(expected)
    wanted = torch.autograd.grad(expected, (x, weight, bias), grad)
    given = (x.detach(), grad, weight.detach(), *steps)
    torch.testing.assert_close(run(f"{name}_backward", *given, [True] * 3), wanted)
    only = run(f"{name}_backward", *given, [False, True, False])
    assert only[0] is None
    assert only[2] is None
    torch.testing.assert_close(only[1], wanted[1])


def test_of_four_paddings_the_first_two_count() -> None:
    x, weight = torch.randn(1, 2, 6, 5), torch.randn(3, 2, 3, 3)
    steps = (two(1), [1, 0, 7, 7], two(1), 1)
    expected = F.conv2d(x, weight, None, 1, (1, 0))
    torch.testing.assert_close(run("npu_conv2d", x, weight, None, *steps)[0], expected)
    given = (x, torch.ones_like(expected), weight, *steps, [True, False, False])
    assert run("npu_conv2d_backward", *given)[0].shape == x.shape


def test_half_precision_is_rounded_once() -> None:
    x, weight = torch.randn(1, 32, 6, 6).half(), torch.randn(8, 32, 3, 3).half()
    (found,) = run("npu_conv2d", x, weight, None, two(1), two(0), two(1), 1)
    torch.testing.assert_close(found, F.conv2d(x.double(), weight.double()).half())


def test_convolutions_of_three_axes() -> None:
    x, weight = torch.randn(1, 2, 5, 5, 5, requires_grad=True), torch.randn(3, 2, 2, 2, 2)
    weight.requires_grad_()
    steps = ([1, 2, 1], [1, 0, 1], [1, 1, 2], 1)
    expected = F.conv3d(x, weight, None, *steps)
    torch.testing.assert_close(run("npu_conv3d", x, weight, None, *steps)[0], expected)
    grad = torch.randn_like(expected)
    wanted = torch.autograd.grad(expected, (x, weight), grad)
    found = run("npu_conv3d_backward", x.detach(), grad, weight.detach(), *steps, [True] * 3)
    torch.testing.assert_close(found[:2], wanted)
    torch.testing.assert_close(found[2], grad.sum((0, 2, 3, 4)))


@pytest.mark.parametrize("name", ["npu_conv_transpose2d", "npu_convolution_transpose"])
def test_transposed_convolutions_and_their_gradients(name: str) -> None:
    x = torch.randn(2, 4, 5, 5, requires_grad=True)
    weight, bias = torch.randn(4, 3, 3, 3, requires_grad=True), torch.randn(6, requires_grad=True)
    steps = (two(1), two(1), two(2), two(1), 2)  # padding, output padding, stride, dilation, groups
    expected = F.conv_transpose2d(x, weight, bias, two(2), two(1), two(1), 2, two(1))
    torch.testing.assert_close(run(name, x, weight, bias, *steps)[0], expected)
    grad = torch.randn_like(expected)
    wanted = torch.autograd.grad(expected, (x, weight, bias), grad)
    found = run(f"{name}_backward", x.detach(), grad, weight.detach(), *steps, [True] * 3)
    torch.testing.assert_close(found, wanted)


def test_backwards_that_name_the_gradient_first() -> None:
    x, weight = torch.randn(2, 3, 8, 8, requires_grad=True), torch.randn(5, 3, 3, 3)
    weight.requires_grad_()
    expected = F.conv2d(x, weight, None, two(1), two(2), two(2))
    grad = torch.randn_like(expected)
    wanted = torch.autograd.grad(expected, (x, weight), grad)
    found = run(
        "slow_conv_dilated2d_backward",
        grad,
        x.detach(),
        weight.detach(),
        two(3),
        two(1),
        two(2),
        two(2),
        [True] * 3,
    )
    torch.testing.assert_close(found[:2], wanted)
    alone = torch.randn(3, 1, 3, 3, requires_grad=True)
    expected = F.conv2d(x, alone, None, two(1), two(1), two(1), 3)
    grad = torch.randn_like(expected)
    wanted = torch.autograd.grad(expected, (x, alone), grad)
    found = run(
        "_conv_depthwise2d_backward",
        grad,
        x.detach(),
        alone.detach(),
        two(3),
        two(1),
        two(1),
        two(1),
        [True] * 2,
    )
    torch.testing.assert_close(found, wanted)


def test_quantised_convolutions_are_exact_before_they_are_scaled() -> None:
    x = torch.randint(-128, 128, (1, 64, 6, 6), dtype=torch.int8)
    weight = torch.randint(-128, 128, (4, 64, 3, 3), dtype=torch.int8)
    scale, bias = torch.rand(4) * 1e-4, torch.randint(-1000, 1000, (4,), dtype=torch.int32)
    (found,) = run("npu_quant_conv2d", x, weight, scale, two(1), two(1), two(1), bias=bias)
    whole = F.conv2d(x.long(), weight.long(), bias.long(), padding=1)
    expected = whole.double() * scale.double().reshape(1, 4, 1, 1)
    torch.testing.assert_close(found, expected.half())
    with pytest.raises(NotEmulated, match="offset_x"):
        run("npu_quant_conv2d", x, weight, scale, offset_x=1)


def moved(batch: int, rows: int, columns: int, right: float, down: float, weight: float) -> Tensor:
    parts = [torch.full((batch, 9, rows, columns), value) for value in (right, down, weight)]
    return torch.cat(parts, 1)


def test_without_moves_a_deformable_convolution_is_a_plain_one() -> None:
    x, weight, bias = torch.randn(2, 4, 7, 7), torch.randn(5, 4, 3, 3), torch.randn(5)
    steps = (two(3), [1, 1, 2, 2], [1, 1, 1, 1])
    found, taps = run("npu_deformable_conv2d", x, weight, moved(2, 4, 4, 0, 0, 1), bias, *steps)
    torch.testing.assert_close(found, F.conv2d(x, weight, bias, 2, 1))
    assert taps.shape == (2, 4, 12, 12)


def test_moved_taps_see_the_moved_image() -> None:
    y, x = torch.meshgrid(torch.arange(9.0), torch.arange(9.0), indexing="ij")
    plane = (10 * y + x).reshape(1, 1, 9, 9)
    weight = torch.full((1, 1, 3, 3), 1 / 9)
    offset = moved(1, 7, 7, 0.25, 0.5, 2)
    found, _ = run("npu_deformable_conv2d", plane, weight, offset, None, two(3), [1] * 4, [0] * 4)
    expected = 2 * (plane[:, :, 1:-1, 1:-1] + 5.25)
    torch.testing.assert_close(found[:, :, :6, :6], expected[:, :, :6, :6])


def test_deformable_backward_is_the_derivative() -> None:
    x = torch.randn(2, 4, 6, 6, requires_grad=True)
    weight = torch.randn(5, 4, 3, 3, requires_grad=True)
    offset = torch.randn(2, 54, 6, 6, requires_grad=True)
    bias = torch.randn(5, requires_grad=True)
    steps = (two(3), [1] * 4, [1] * 4, [1] * 4, 1, 2)
    found, taps = run("npu_deformable_conv2d", x, weight, offset, bias, *steps)
    grad = torch.randn_like(found)
    wanted = torch.autograd.grad(found, (x, weight, offset, bias), grad)
    given = (x.detach(), grad, taps.detach(), weight.detach(), offset.detach())
    torch.testing.assert_close(run("npu_deformable_conv2dbk", *given, *steps), wanted)
