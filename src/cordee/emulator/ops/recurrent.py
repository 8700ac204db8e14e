"""One layer of an LSTM or a GRU, with what its backward needs.

Weights lie as [input, gates * hidden]. The gates come in PyTorch's order: input, forget, cell and
output of an LSTM (`ifjo`), reset, update and new of a GRU (`rzh`). Sequences are [steps, batch, ...].
"""

import torch
from torch import Tensor

from cordee.emulator.ops.contract import refuse
from cordee.emulator.ops.reference import Chapter, vjp
from cordee.emulator.ops.sources import code_of

chapter = Chapter(source=code_of("aclops/LstmKernelNpu.cpp"))

Steps = tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]


@chapter.reference("npu::npu_lstm")
def lstm(
    input: Tensor,
    weight: Tensor,
    bias: Tensor,
    seq_mask: Tensor,
    h: Tensor,
    c: Tensor,
    has_biases: bool,
    num_layers: int,
    dropout: float,
    train: bool,
    bidirectional: bool,
    batch_first: bool,
    flag_seq: bool,
    direction: bool,
) -> Steps:
    """Output, hidden and cell states, the gates i, j, f and o, and tanh(c), after every step.

    `direction` runs from the last step to the first. The rest says what a caller made of it.
    """
    refuse("npu_lstm", flag_seq=flag_seq)
    if not direction:
        return _lstm(input, weight, bias, h, c)
    backwards = _lstm(input.flip(0), weight, bias, h, c)
    y, hs, cs, i, j, f, o, tanhc = (steps.flip(0) for steps in backwards)
    return y, hs, cs, i, j, f, o, tanhc


@chapter.reference("npu::npu_lstm_backward")
def lstm_backward(
    grady: Tensor | None,
    gradh: Tensor | None,
    gradc: Tensor | None,
    input: Tensor,
    weight: Tensor,
    bias: Tensor,
    hx: Tensor,
    cx: Tensor,
    y_output: Tensor,
    h_output: Tensor,
    c_output: Tensor,
    i: Tensor,
    j: Tensor,
    f: Tensor,
    o: Tensor,
    tanhc: Tensor,
) -> tuple[Tensor | None, ...]:
    """Gradients of input, weight, bias and the two first states.

    Of the gradients of the states after every step it takes the last.
    """

    def outputs(*leaves: Tensor) -> tuple[Tensor, ...]:
        y, hs, cs, *_ = _lstm(*leaves)
        return y, hs[-1], cs[-1]

    last = (None if gradh is None else gradh[-1], None if gradc is None else gradc[-1])
    return vjp(outputs, (input, weight, bias, hx, cx), (grady, *last))


@chapter.reference("npu::npu_lstm_cell", source=code_of("aclops/LstmCellKernelNpu.cpp"))
def lstm_cell(
    input: Tensor,
    w_ih: Tensor,
    w_hh: Tensor,
    h: Tensor,
    c: Tensor,
    b_ih: Tensor | None = None,
    b_hh: Tensor | None = None,
) -> Steps:
    """One step of [batch, input]: the states as [batch, hidden], everything else with a first axis."""
    weight = torch.cat((w_ih, w_hh))
    bias = torch.zeros(weight.shape[1], dtype=torch.float32)
    for own in (b_ih, b_hh):
        bias = bias if own is None else bias + own.float()
    y, hs, cs, i, j, f, o, tanhc = _lstm(input.unsqueeze(0), weight, bias, h, c)
    return y, hs[0].clone(), cs[0].clone(), i, j, f, o, tanhc


@chapter.reference("npu::npu_lstm_cell_backward", source=code_of("aclops/LstmCellKernelNpu.cpp"))
def lstm_cell_backward(
    grady: Tensor | None,
    gradh: Tensor | None,
    gradc: Tensor | None,
    input: Tensor,
    w_ih: Tensor,
    w_hh: Tensor,
    h: Tensor,
    c: Tensor,
    y_output: Tensor,
    h_output: Tensor,
    c_output: Tensor,
    i: Tensor,
    j: Tensor,
    f: Tensor,
    o: Tensor,
    tanhc: Tensor,
) -> tuple[Tensor | None, ...]:
    """Gradients of input, both weights, both biases and the two states."""
    i, j, f, o, tanhc = (gate[0].float() for gate in (i, j, f, o, tanhc))
    of_new_h = sum(
        (given.float().reshape(h.shape) for given in (grady, gradh) if given is not None),
        torch.zeros(h.shape),
    )
    of_new_c = of_new_h * o * (1 - tanhc**2)
    of_new_c = of_new_c if gradc is None else of_new_c + gradc.float()
    of_gates = torch.cat(
        (
            of_new_c * j * i * (1 - i),
            of_new_c * c.float() * f * (1 - f),
            of_new_c * i * (1 - j**2),
            of_new_h * tanhc * o * (1 - o),
        ),
        -1,
    )
    of_bias = of_gates.sum(0).to(y_output.dtype)
    return (
        (of_gates @ w_ih.float().T).to(input.dtype),
        (input.float().T @ of_gates).to(w_ih.dtype),
        (h.float().T @ of_gates).to(w_hh.dtype),
        of_bias,
        of_bias.clone(),
        (of_gates @ w_hh.float().T).to(h.dtype),
        (of_new_c * f).to(c.dtype),
    )


@chapter.reference("npu::npu_gru", source=code_of("aclops/GruKernelNpu.cpp"))
def gru(
    input: Tensor,
    hx: Tensor,
    weight_input: Tensor,
    weight_hidden: Tensor,
    bias_input: Tensor,
    bias_hidden: Tensor,
    seq_length: Tensor,
    has_biases: bool,
    num_layers: int,
    dropout: float,
    train: bool,
    bidirectional: bool,
    batch_first: bool,
) -> tuple[Tensor, ...]:
    """Output, hidden state, update, reset and new gates, and the new gate's share of the state."""
    return _gru(input, hx, weight_input, weight_hidden, bias_input, bias_hidden)


@chapter.reference("npu::npu_gru_backward", source=code_of("aclops/GruKernelNpu.cpp"))
def gru_backward(
    grady: Tensor | None,
    gradh: Tensor | None,
    input: Tensor,
    weight_input: Tensor,
    weight_hidden: Tensor,
    bias_input: Tensor,
    bias_hidden: Tensor,
    seq_length: Tensor,
    hx: Tensor,
    y_output: Tensor,
    h_output: Tensor,
    output_updata: Tensor,
    output_reset: Tensor,
    output_new: Tensor,
    hidden_new: Tensor,
) -> tuple[Tensor | None, ...]:
    """Gradients of both weights, the input, both biases and the first state."""

    def outputs(*leaves: Tensor) -> tuple[Tensor, ...]:
        y, hs, *_ = _gru(*leaves)
        return y, hs[-1]

    leaves = (input, hx, weight_input, weight_hidden, bias_input, bias_hidden)
    last = None if gradh is None else gradh[-1]
    of_x, of_h, of_wi, of_wh, of_bi, of_bh = vjp(outputs, leaves, (grady, last))
    return of_wi, of_wh, of_x, of_bi, of_bh, of_h


def _lstm(input: Tensor, weight: Tensor, bias: Tensor, h: Tensor, c: Tensor) -> Steps:
    batch, hidden = input.shape[1], weight.shape[1] // 4
    state = (h.float().reshape(batch, hidden), c.float().reshape(batch, hidden))
    steps = []
    for x in input.float():
        values = _lstm_step(x, weight, bias, *state)
        state = values[:2]
        steps.append((values[0], *values))
    y, hs, cs, i, j, f, o, tanhc = (
        torch.stack(s).to(input.dtype) for s in zip(*steps, strict=True)
    )
    return y, hs, cs, i, j, f, o, tanhc


def _lstm_step(
    x: Tensor, weight: Tensor, bias: Tensor, h: Tensor, c: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Both states, the gates i, j, f and o, and tanh(c), in float32."""
    gates = torch.cat((x.float(), h.float()), -1) @ weight.float() + bias.float()
    i, f, j, o = gates.chunk(4, -1)
    i, f, j, o = torch.sigmoid(i), torch.sigmoid(f), torch.tanh(j), torch.sigmoid(o)
    c = f * c.float() + i * j
    tanhc = torch.tanh(c)
    return o * tanhc, c, i, j, f, o, tanhc


def _gru(
    input: Tensor, hx: Tensor, w_input: Tensor, w_hidden: Tensor, b_input: Tensor, b_hidden: Tensor
) -> tuple[Tensor, ...]:
    h = hx.float().reshape(input.shape[1], -1)
    steps = []
    for x in input.float():
        r_x, z_x, n_x = (x @ w_input.float() + b_input.float()).chunk(3, -1)
        r_h, z_h, n_h = (h @ w_hidden.float() + b_hidden.float()).chunk(3, -1)
        r, z = torch.sigmoid(r_x + r_h), torch.sigmoid(z_x + z_h)
        n = torch.tanh(n_x + r * n_h)
        h = (1 - z) * n + z * h
        steps.append((h, h, z, r, n, n_h))
    return tuple(torch.stack(s).to(b_input.dtype) for s in zip(*steps, strict=True))
