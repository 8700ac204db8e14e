"""One layer of an LSTM or GRU against PyTorch's modules, and the backwards against autograd."""

import pytest
import torch
from torch import Tensor

from cordee.core.errors import NotEmulated
from cordee.emulator.ops import recurrent as recurrent
from cordee.emulator.ops.reference import REFERENCES

FLAGS = (True, 1, 0.0, True, False, False)


def run(name: str, *arguments: object) -> tuple[Tensor, ...]:
    found = REFERENCES[f"npu::{name}"].function(*arguments)
    assert isinstance(found, tuple)
    return found


def lstm_of(module: torch.nn.LSTM) -> tuple[Tensor, Tensor]:
    weight = torch.cat((module.weight_ih_l0, module.weight_hh_l0), 1).T
    return weight, module.bias_ih_l0 + module.bias_hh_l0


def test_an_lstm_layer_is_pytorchs() -> None:
    module = torch.nn.LSTM(5, 4)
    x, h, c = torch.randn(6, 3, 5), torch.randn(1, 3, 4), torch.randn(1, 3, 4)
    expected, (last_h, last_c) = module(x, (h, c))
    found = run("npu_lstm", x, *lstm_of(module), torch.empty(0), h, c, *FLAGS, False, False)
    torch.testing.assert_close(found[0], expected)
    torch.testing.assert_close((found[1][-1:], found[2][-1:]), (last_h, last_c))
    torch.testing.assert_close(found[7], torch.tanh(found[2]))
    torch.testing.assert_close(found[6] * found[7], found[1])


def test_an_lstm_layer_can_run_backwards() -> None:
    module = torch.nn.LSTM(5, 4, bidirectional=True)
    x, h, c = torch.randn(6, 3, 5), torch.randn(2, 3, 4), torch.randn(2, 3, 4)
    expected = module(x, (h, c))[0][..., 4:]
    weight = torch.cat((module.weight_ih_l0_reverse, module.weight_hh_l0_reverse), 1).T
    bias = module.bias_ih_l0_reverse + module.bias_hh_l0_reverse
    found = run("npu_lstm", x, weight, bias, torch.empty(0), h[1:], c[1:], *FLAGS, False, True)
    torch.testing.assert_close(found[0], expected)


def test_packed_sequences_are_refused_by_name() -> None:
    zero = torch.zeros(1, 1, 1)
    with pytest.raises(NotEmulated, match="flag_seq"):
        run("npu_lstm", zero, zero, zero, zero, zero, zero, *FLAGS, True, False)


def test_lstm_backward_is_the_derivative() -> None:
    leaves = [
        torch.randn(shape, requires_grad=True)
        for shape in ((6, 3, 5), (9, 16), (16,), (1, 3, 4), (1, 3, 4))
    ]
    x, weight, bias, h, c = leaves
    out = run("npu_lstm", x, weight, bias, torch.empty(0), h, c, *FLAGS, False, False)
    grads = [torch.randn_like(out[0]) for _ in range(3)]
    for grad in grads[1:]:
        grad[:-1] = 0
    expected = torch.autograd.grad(out[:3], leaves, grads, retain_graph=True)
    plain = [leaf.detach() for leaf in leaves]
    saved = [y.detach() for y in out]
    torch.testing.assert_close(run("npu_lstm_backward", *grads, *plain, *saved), expected)
    only = torch.autograd.grad(out[0], leaves, grads[0])
    found = run("npu_lstm_backward", grads[0], None, None, *plain, *saved)
    torch.testing.assert_close(found, only)


@pytest.mark.parametrize("biased", [False, True])
def test_an_lstm_cell_and_its_backward_are_pytorchs(biased: bool) -> None:
    module = torch.nn.LSTMCell(5, 4, bias=biased)
    x = torch.randn(3, 5, requires_grad=True)
    h, c = torch.randn(3, 4, requires_grad=True), torch.randn(3, 4, requires_grad=True)
    expected = module(x, (h, c))
    weights = module.weight_ih.T.detach(), module.weight_hh.T.detach()
    biases = (module.bias_ih, module.bias_hh) if biased else (None, None)
    with torch.no_grad():
        out = run("npu_lstm_cell", x, *weights, h, c, *biases)
    torch.testing.assert_close(out[1:3], expected)
    torch.testing.assert_close(out[0][0], expected[0])
    grads = torch.randn(1, 3, 4), torch.randn(3, 4), torch.randn(3, 4)
    leaves = [x, module.weight_ih, module.weight_hh, h, c]
    leaves += [module.bias_ih, module.bias_hh] if biased else []
    wanted = torch.autograd.grad(expected, leaves, (grads[0][0] + grads[1], grads[2]))
    with torch.no_grad():
        found = run("npu_lstm_cell_backward", *grads, x, *weights, h, c, *out)
    torch.testing.assert_close(found[0], wanted[0])
    torch.testing.assert_close((found[1].T, found[2].T), wanted[1:3])
    torch.testing.assert_close(found[5:], wanted[3:5])
    if biased:
        torch.testing.assert_close(found[3:5], wanted[5:])


def test_a_gru_layer_is_pytorchs() -> None:
    module = torch.nn.GRU(5, 4)
    x, h = torch.randn(6, 3, 5), torch.randn(1, 3, 4)
    expected, last = module(x, h)
    weights = module.weight_ih_l0.T, module.weight_hh_l0.T, module.bias_ih_l0, module.bias_hh_l0
    y, hs, update, reset, new, share = run("npu_gru", x, h[0], *weights, torch.empty(0), *FLAGS)
    torch.testing.assert_close((y, hs[-1:]), (expected, last))
    before = torch.cat((h, hs[:-1]))
    torch.testing.assert_close(hs, (1 - update) * new + update * before)
    hidden = before @ module.weight_hh_l0[8:].T + module.bias_hh_l0[8:]
    torch.testing.assert_close(share, hidden)
    assert bool(((reset > 0) & (reset < 1)).all())


def test_gru_backward_is_the_derivative() -> None:
    shapes = ((6, 3, 5), (3, 4), (5, 12), (4, 12), (12,), (12,))
    leaves = [torch.randn(shape, requires_grad=True) for shape in shapes]
    x, h, w_x, w_h, b_x, b_h = leaves
    out = run("npu_gru", *leaves, torch.empty(0), *FLAGS)
    grads = [torch.randn_like(out[0]), torch.randn_like(out[1])]
    grads[1][:-1] = 0
    expected = torch.autograd.grad(out[:2], (w_x, w_h, x, b_x, b_h, h), grads)
    plain = [leaf.detach() for leaf in (x, w_x, w_h, b_x, b_h)]
    saved = [y.detach() for y in out]
    found = run("npu_gru_backward", *grads, *plain, torch.empty(0), h.detach(), *saved)
    torch.testing.assert_close(found, expected)
