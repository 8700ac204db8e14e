"""Softmax with what attention does around it: scaling, masking, biases, values."""

import torch
from torch import Tensor

from cordee.emulator.ops.reference import Chapter
from cordee.emulator.ops.sources import CONFIG, code_of, page_of

chapter = Chapter(source=page_of("npu_scaled_masked_softmax"))

HIDDEN_SCORE = -10000.0  # what a masked score becomes


@chapter.reference("npu::npu_scaled_masked_softmax")
def scaled_masked_softmax(
    x: Tensor, mask: Tensor, scale: float = 1, fixed_triu_mask: bool = False
) -> Tensor:
    """Softmax of `scale * x` [B, N, S, L] but for what `mask` hides."""
    scores = (x.float() * scale).masked_fill(_hidden(x, mask, fixed_triu_mask), HIDDEN_SCORE)
    return scores.softmax(-1).to(x.dtype)


@chapter.reference("npu::npu_scaled_masked_softmax_backward")
def scaled_masked_softmax_backward(
    y_grad: Tensor, y: Tensor, mask: Tensor, scale: float, fixed_triu_mask: bool
) -> Tensor:
    """Gradient of `x`, given the softmax `y` and its gradient."""
    grad = _softmax_grad(y_grad, y) * scale
    return grad.masked_fill(_hidden(y, mask, fixed_triu_mask), 0).to(y_grad.dtype)


@chapter.gradient("npu::npu_scaled_masked_softmax")
def scaled_masked_softmax_gradient(
    arguments: tuple[Tensor, Tensor, float, bool],
    outputs: tuple[Tensor],
    grads: tuple[Tensor | None],
) -> tuple[Tensor | None, None, None, None]:
    """What autograd runs: the backward operator."""
    _, mask, scale, fixed = arguments
    if grads[0] is None:
        return None, None, None, None
    return (
        scaled_masked_softmax_backward(grads[0], outputs[0], mask, scale, fixed),
        None,
        None,
        None,
    )


@chapter.reference("npu::npu_masked_softmax_with_rel_pos_bias", source=CONFIG)
def masked_softmax_with_rel_pos_bias(
    x: Tensor,
    atten_mask: Tensor | None,
    relative_pos_bias: Tensor,
    scale_value: float = 1.0,
    inner_precision_mode: int = 0,
) -> Tensor:
    """Softmax of scaled scores [B, W, N, S, S] of windows, with a mask and a bias added."""
    scores = x.float() * scale_value
    if atten_mask is not None:
        scores = scores + atten_mask.float()
    return (scores + relative_pos_bias.float()).softmax(-1).to(x.dtype)


@chapter.reference("npu::npu_attn_softmax_", source=CONFIG)
def attn_softmax_(input: Tensor) -> Tensor:
    """Softmax of the last axis, in place."""
    return input.copy_(input.float().softmax(-1))


@chapter.reference(
    "npu::npu_attn_softmax_backward_", source=code_of("opapi/AttnSoftMaxBackwardKernelNpuOpApi.cpp")
)
def attn_softmax_backward_(input: Tensor, grad_output: Tensor, values: Tensor) -> Tensor:
    """Gradient of the scores behind the softmax `input`, which weighs `values`, in place."""
    grad = grad_output.float() @ values.float().transpose(-2, -1)
    return input.copy_(_softmax_grad(grad, input))


def _softmax_grad(grad: Tensor, weights: Tensor) -> Tensor:
    weights = weights.float()
    product = grad.float() * weights
    return product - weights * product.sum(-1, keepdim=True)


def _hidden(scores: Tensor, mask: Tensor, fixed_triu_mask: bool) -> Tensor:
    if fixed_triu_mask:
        return torch.ones(scores.shape[-2:], dtype=torch.bool).triu(1)
    return mask.bool()
