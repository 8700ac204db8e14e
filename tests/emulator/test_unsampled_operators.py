"""The adapter's operators that no sample of PyTorch's database reaches give what the CPU gives."""

from typing import Any

import pytest
import torch
from operator_arguments import Call
from operator_calls import CALLS, RANDOM
from operator_database import assert_same, to_chip
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from cordee.emulator.ops.reference import REFERENCES
from cordee.emulator.ops.schema import operator

pytestmark = [
    pytest.mark.usefixtures("chip"),
    pytest.mark.filterwarnings("ignore"),  # sparse and quantised tensors are announced as unstable
]


def copied(call: Call) -> Call:
    """With tensors of its own: an operator may write into them."""
    return tree_map(lambda x: x.clone() if isinstance(x, Tensor) else x, call)  # type: ignore[no-any-return]


def on_cpu(name: str, call: Call) -> tuple[Any, Call]:
    """What the operator gives on the CPU, and the call with what it has written."""
    reference = REFERENCES.get(f"aten::{name}")
    function = reference.function if reference else operator(f"aten::{name}")
    args, kwargs = copied(call)
    return function(*args, **kwargs), (args, kwargs)


def on_chip(name: str, call: Call) -> tuple[Any, Call]:
    # Where autograd may be needed some operators are taken apart before they reach the chip.
    with torch.inference_mode():
        args, kwargs = to_chip(copied(call))
        return operator(f"aten::{name}")(*args, **kwargs), (args, kwargs)


@pytest.mark.parametrize("name", CALLS)
def test_an_operator_without_a_sample_gives_what_the_cpu_gives(name: str) -> None:
    expected, expected_call = on_cpu(name, CALLS[name])
    result, call = on_chip(name, CALLS[name])
    assert_same(result, expected)
    assert_same(tensors(call), tensors(expected_call))


def tensors(call: Call) -> Any:
    return tree_map(lambda x: x if isinstance(x, Tensor) else None, call)


@pytest.mark.parametrize("name", RANDOM)
def test_an_operator_without_a_sample_draws_what_the_seed_says(name: str) -> None:
    drawn = []
    for seed in (3, 3, 4):
        torch.npu.manual_seed(seed)
        result, _ = on_chip(name, RANDOM[name])
        assert result.device.type == "npu"
        drawn.append(result.cpu())
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])


def test_a_convolution_outside_pytorchs_tree_is_a_convolution() -> None:
    x, weight, bias = torch.randn(2, 3, 5, 5), torch.randn(4, 3, 3, 3), torch.randn(4)
    settings = ([1, 1], [1, 1], [1, 1], False, [0, 0], 1)
    expected = torch.ops.aten.convolution(x, weight, bias, *settings)
    result, _ = on_chip("convolution_overrideable", ((x, weight, bias, *settings), {}))
    assert_same(result, expected)


def test_the_gradient_of_a_convolution_outside_pytorchs_tree_is_that_of_a_convolution() -> None:
    grad, x, weight = torch.randn(2, 4, 5, 5), torch.randn(2, 3, 5, 5), torch.randn(4, 3, 3, 3)
    settings = ([1, 1], [1, 1], [1, 1], False, [0, 0], 1, [True, True, True])
    expected = torch.ops.aten.convolution_backward(grad, x, weight, [4], *settings)
    args = (grad, x, weight, *settings)
    result, _ = on_chip("convolution_backward_overrideable", (args, {}))
    assert_same(result, expected)


def test_a_gru_cell_and_its_gradient_are_those_of_the_cpu() -> None:
    torch.manual_seed(0)
    cell, x, h = nn.GRUCell(4, 3), torch.randn(2, 4), torch.randn(2, 3)
    expected = cell(x, h)
    wanted = torch.autograd.grad(expected.sum(), list(cell.parameters()))
    cell.npu()
    result = cell(x.npu(), h.npu())
    assert_same(result, expected)
    assert_same(torch.autograd.grad(result.sum(), list(cell.parameters())), wanted)


def test_a_tensor_quantised_on_the_chip_holds_what_it_holds_on_the_cpu() -> None:
    x = torch.randn(6)
    expected = torch.quantize_per_tensor(x, 0.1, 3, torch.qint8)
    result = torch.quantize_per_tensor(x.npu(), 0.1, 3, torch.qint8)
    assert (result.is_quantized, result.q_scale(), result.q_zero_point()) == (True, 0.1, 3)
    assert_same(result.int_repr(), expected.int_repr())
    assert_same(result.dequantize(), expected.dequantize())


def test_a_tensor_quantised_by_channel_on_the_chip_holds_what_it_holds_on_the_cpu() -> None:
    x, scales, zeros = torch.randn(2, 6), torch.tensor([0.1, 0.2]), torch.tensor([0, 1])
    expected = torch.quantize_per_channel(x, scales, zeros, 0, torch.qint8)
    result = torch.quantize_per_channel(x.npu(), scales.npu(), zeros.npu(), 0, torch.qint8)
    assert_same(result.int_repr(), expected.int_repr())
    torch.testing.assert_close(result.dequantize().cpu().float(), expected.dequantize())
