"""Activations and gated units against closed forms and autograd."""

import math

import pytest
import torch
from torch import Tensor

from cordee.emulator.ops import activation as activation
from cordee.emulator.ops.reference import REFERENCES


def run(name: str, *arguments: object, **options: object) -> Tensor:
    found = REFERENCES[f"npu::{name}"].function(*arguments, **options)
    assert isinstance(found, Tensor)
    return found


def gelu(x: Tensor, approximate: str = "none") -> Tensor:
    if approximate == "none":
        return x / 2 * (1 + torch.erf(x / math.sqrt(2)))
    return x / 2 * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


FORMS = {
    "npu_gelu": gelu,
    "npu_silu": lambda x: x / (1 + torch.exp(-x)),
    "npu_mish": lambda x: x * torch.tanh(torch.log1p(torch.exp(x))),
    "npu_fast_gelu": lambda x: x / (1 + torch.exp(-1.702 * x)),
    "fast_gelu": lambda x: x / (1 + torch.exp(-1.702 * x)),
}


@pytest.mark.parametrize("name", FORMS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_an_activation_is_its_closed_form(name: str, dtype: torch.dtype) -> None:
    x = torch.linspace(-6, 6, 101).to(dtype)
    torch.testing.assert_close(run(name, x), FORMS[name](x.double()).to(dtype))


@pytest.mark.parametrize(
    "name", ["npu_gelu_backward", "npu_mish_backward", "npu_fast_gelu_backward"]
)
def test_a_backward_is_the_derivative(name: str) -> None:
    x = torch.linspace(-4, 4, 33, dtype=torch.float64, requires_grad=True)
    dy = torch.randn(33, dtype=torch.float64)
    (expected,) = torch.autograd.grad(FORMS[name.removesuffix("_backward")](x), x, dy)
    found = run(name, dy.float(), x.detach().float())
    torch.testing.assert_close(found, expected.float())


def test_silu_backward_reads_the_forwards_input() -> None:
    x = torch.randn(33, requires_grad=True)
    y = FORMS["npu_silu"](x)
    (expected,) = torch.autograd.grad(y.sum(), x)
    found = run("npu_silu_backward", torch.ones(33), x.detach(), y.detach())
    torch.testing.assert_close(found, expected)


def test_silu_in_place_overwrites_its_argument() -> None:
    x = torch.randn(8)
    expected = FORMS["npu_silu"](x)
    assert run("npu_silu_", x) is x
    torch.testing.assert_close(x, expected)


def test_gelu_knows_the_tanh_form_and_no_third() -> None:
    x = torch.randn(50)
    torch.testing.assert_close(run("npu_gelu", x, approximate="tanh"), gelu(x, "tanh"))
    with pytest.raises(RuntimeError, match="none or tanh"):
        run("npu_gelu", x, approximate="sigmoid")


@pytest.mark.parametrize("dim", [-1, 0, 1])
def test_swiglu_activates_the_first_half(dim: int) -> None:
    x = torch.randn(4, 6, 8)
    first, second = x.chunk(2, dim)
    torch.testing.assert_close(run("npu_swiglu", x, dim), FORMS["npu_silu"](first) * second)


def test_swiglu_backward_is_the_derivative() -> None:
    x = torch.randn(4, 16, requires_grad=True)
    first, second = x.chunk(2, -1)
    dy = torch.randn(4, 8)
    (expected,) = torch.autograd.grad(FORMS["npu_silu"](first) * second, x, dy)
    torch.testing.assert_close(run("npu_swiglu_backward", dy, x.detach()), expected)


def test_swiglu_needs_an_even_axis() -> None:
    with pytest.raises(RuntimeError, match="divisible by 2"):
        run("npu_swiglu", torch.randn(4, 5))


@pytest.mark.parametrize("left", [False, True])
@pytest.mark.parametrize("approximate", [0, 1])
def test_geglu_multiplies_by_the_activated_half(left: bool, approximate: int) -> None:
    x = torch.randn(4, 6)
    y, activated = REFERENCES["npu::npu_geglu"].function(x, -1, approximate, left)
    first, second = x.chunk(2, -1)
    gate, rest = (first, second) if left else (second, first)
    expected = gelu(gate, "tanh" if approximate else "none")
    torch.testing.assert_close((y, activated), (expected * rest, expected))


def test_geglu_grad_is_the_derivative() -> None:
    x = torch.randn(4, 6, requires_grad=True)
    first, second = x.chunk(2, -1)
    dy = torch.randn(4, 3)
    activated = gelu(second, "tanh")
    (expected,) = torch.autograd.grad(first * activated, x, dy)
    found = run("npu_geglu_grad", dy, x.detach(), activated.detach())
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("approximate", ["none", "tanh"])
def test_gelu_mul_activates_the_first_half(approximate: str) -> None:
    x = torch.randn(4, 6)
    found = run("npu_gelu_mul", x, approximate=approximate)
    torch.testing.assert_close(found, gelu(x[:, :3], approximate) * x[:, 3:])


def test_clipped_swiglu_clamps_both_parts_and_leaves_out_unused_rows() -> None:
    x = torch.randn(6, 8) * 4
    options = {"alpha": 0.7, "limit": 1.5, "bias": 1.2}
    y = run("npu_clipped_swiglu", x, group_index=torch.tensor([1, 3]), **options)
    for row in range(4):
        for column in range(4):
            gate = min(x[row, 2 * column].item(), 1.5)
            linear = max(min(x[row, 2 * column + 1].item(), 1.5), -1.5)
            expected = gate / (1 + math.exp(-0.7 * gate)) * (linear + 1.2)
            assert y[row, column].item() == pytest.approx(expected, abs=1e-5)
    assert not y[4:].any()


def test_clipped_swiglu_can_split_in_the_middle_of_an_inner_axis() -> None:
    x = torch.randn(2, 4, 3)
    y = run("npu_clipped_swiglu", x, dim=1, interleaved=False)
    gate, linear = x[:, :2].clamp(max=7), x[:, 2:].clamp(-7, 7)
    torch.testing.assert_close(y, gate * torch.sigmoid(1.702 * gate) * (linear + 1))
