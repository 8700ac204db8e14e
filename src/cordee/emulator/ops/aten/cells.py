"""One step of a recurrent network, after its matrix products."""

import torch
from torch import Tensor

from cordee.emulator.ops.demands import require
from cordee.emulator.ops.reference import Chapter
from cordee.emulator.ops.sources import code_of

chapter = Chapter(source=code_of("opapi/LstmCellKernelNpuOpApi.cpp"))


@chapter.reference("aten::_thnn_fused_lstm_cell")
def lstm_cell(
    input_gates: Tensor,
    hidden_gates: Tensor,
    cx: Tensor,
    input_bias: Tensor | None = None,
    hidden_bias: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Hidden state, cell state (batch, hidden), and the four gates for the backward.

    The gates (batch, 4 * hidden) are those of input, forget, cell and output, activated.
    """
    dtype = input_gates.dtype
    require(dtype in (torch.float32, torch.float16), "lstm_cell input_gates must be float or half")
    require(
        hidden_gates.dtype == dtype,
        "lstm_cell input_gates and hidden_gates must have same dtype",
    )
    require(cx.dtype == dtype, "lstm_cell input_gates and c must have same dtype")
    gates = input_gates.float() + hidden_gates.float()
    for bias in (input_bias, hidden_bias):
        if bias is not None:
            gates = gates + bias.float()
    i, f, g, o = gates.chunk(4, dim=1)
    i, f, g, o = i.sigmoid(), f.sigmoid(), g.tanh(), o.sigmoid()
    cy = f * cx.float() + i * g
    hy = o * cy.tanh()
    return hy.to(dtype), cy.to(dtype), torch.cat([i, f, g, o], dim=1).to(dtype)


@chapter.reference("aten::_thnn_fused_lstm_cell_backward_impl")
def lstm_cell_backward(
    grad_hy: Tensor | None,
    grad_cy: Tensor | None,
    cx: Tensor,
    cy: Tensor,
    workspace: Tensor,
    has_bias: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of the gates, of the cell state, and of a bias, given the activated gates."""
    require(
        cx.dim() == cy.dim() == workspace.dim() == 2, "cx, cy and workspace must be a 2D Tensor"
    )
    require(cx.shape == cy.shape, "cx and cy must be the same size")
    i, f, g, o = workspace.float().chunk(4, dim=1)
    tanh = cy.float().tanh()
    hidden = torch.zeros_like(tanh) if grad_hy is None else grad_hy.float()
    cell = hidden * o * (1 - tanh.square())
    if grad_cy is not None:
        cell = cell + grad_cy.float()
    gates = torch.cat(
        [
            cell * g * i * (1 - i),
            cell * cx.float() * f * (1 - f),
            cell * i * (1 - g.square()),
            hidden * tanh * o * (1 - o),
        ],
        dim=1,
    )
    bias = gates.sum(0) if has_bias else torch.zeros(gates.shape[1])
    return gates.to(workspace.dtype), (cell * f).to(cx.dtype), bias.to(cx.dtype)
