"""Losses and their backwards: cross entropy, divergence, absolute error."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from cordee.emulator.ops.contract import refuse
from cordee.emulator.ops.reference import Chapter, vjp
from cordee.emulator.ops.sources import CONFIG, code_of, page_of

chapter = Chapter(source=page_of("npu_cross_entropy_loss"))

# at::Reduction, in the order of its numbers.
REDUCTIONS = ("none", "mean", "sum")


@chapter.reference("npu::npu_cross_entropy_loss")
def cross_entropy_loss(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    reduction: str = "mean",
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
    lse_square_scale_for_zloss: float = 0.0,
    return_zloss: bool = False,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Loss [1] or [batch], log probabilities [batch, classes], and two empty results."""
    refuse(
        "npu_cross_entropy_loss",
        lse_square_scale_for_zloss=lse_square_scale_for_zloss != 0.0,
        return_zloss=return_zloss,
    )
    log_prob = torch.log_softmax(input.float(), -1)
    loss = _class_loss(log_prob, target, weight, reduction, ignore_index, label_smoothing)
    nothing = input.new_empty(0)
    return loss.to(input.dtype), log_prob.detach().to(input.dtype), nothing, nothing.clone()


@chapter.reference("npu::npu_cross_entropy_loss_backward")
def cross_entropy_loss_backward(
    grad_loss: Tensor,
    log_prob: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    grad_zloss: Tensor | None = None,
    lse_for_zloss: Tensor | None = None,
    reduction: str = "mean",
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
    lse_square_scale_for_zloss: float = 0.0,
) -> Tensor:
    """Gradient of the logits [batch, classes], from the log probabilities the forward gave."""
    refuse(
        "npu_cross_entropy_loss_backward",
        lse_square_scale_for_zloss=lse_square_scale_for_zloss != 0.0,
    )

    def loss(logits: Tensor) -> Tensor:
        # Log probabilities are logits of themselves.
        again = torch.log_softmax(logits, -1)
        return _class_loss(again, target, weight, reduction, ignore_index, label_smoothing)

    (grad,) = vjp(loss, (log_prob.float(),), (grad_loss.float(),))
    assert grad is not None
    return grad.to(grad_loss.dtype)


@chapter.reference(
    "npu::npu_fused_linear_online_max_sum", source=page_of("npu_fused_linear_online_max_sum")
)
def fused_linear_online_max_sum(
    input: Tensor,
    weight: Tensor,
    target: Tensor,
    vocab_start_index: int,
    vocab_end_index: int,
    return_logits: bool = False,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor | None]:
    """One chip's part of the cross entropy over a vocabulary divided among chips.

    Gives of its logits the largest, the sum of exp(logit - largest), that of the target less the
    largest (each [tokens]); which targets are not its own, a bit each; their numbers here; and
    the logits if asked for.
    """
    logits = input.float() @ weight.float().T
    largest = logits.amax(-1)
    below = logits - largest.unsqueeze(-1)
    foreign = (target < vocab_start_index) | (target > vocab_end_index)
    own = torch.where(foreign, 0, target - vocab_start_index)
    predicted = below.gather(-1, own.long().unsqueeze(-1)).squeeze(-1).masked_fill(foreign, 0.0)
    kept = logits.to(input.dtype) if return_logits else None
    return largest, below.exp().sum(-1), predicted, _bits(foreign), own.to(target.dtype), kept


@chapter.reference(
    "npu::npu_fused_cross_entropy_loss_with_max_sum",
    source=page_of("npu_fused_cross_entropy_loss_with_max_sum"),
)
def fused_cross_entropy_loss_with_max_sum(
    logits_max: Tensor,
    sum_exp_logits: Tensor,
    predicted_logits: Tensor,
    label_smoothing: float | None = 0.0,
    input: Tensor | None = None,
    weight: Tensor | None = None,
    vocab_parallel_logits: Tensor | None = None,
) -> tuple[Tensor, Tensor | None]:
    """Loss of each token, and the softmax of the chip's logits if these are given."""
    refuse(
        "npu_fused_cross_entropy_loss_with_max_sum",
        label_smoothing=bool(label_smoothing),
        input=input,
        weight=weight,
    )
    loss = sum_exp_logits.log() - predicted_logits
    if vocab_parallel_logits is None:
        return loss, None
    exponent = vocab_parallel_logits.float() - logits_max.unsqueeze(-1)
    return loss, exponent.exp() / sum_exp_logits.unsqueeze(-1)


@chapter.reference(
    "npu::npu_fused_linear_cross_entropy_loss_with_max_sum_backward",
    source=page_of("npu_fused_linear_cross_entropy_loss_with_max_sum_backward"),
)
def fused_linear_cross_entropy_loss_with_max_sum_backward(
    grad: Tensor,
    input: Tensor,
    weight: Tensor,
    target_mask: Tensor,
    masked_target: Tensor,
    label_smoothing: float = 0.0,
    logits_max: Tensor | None = None,
    sum_exp_logits: Tensor | None = None,
    softmax: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Gradients of `input` [tokens, hidden] and of the chip's `weight` [vocabulary, hidden]."""
    refuse(
        "npu_fused_linear_cross_entropy_loss_with_max_sum_backward",
        label_smoothing=label_smoothing != 0.0,
    )
    if softmax is None:
        assert logits_max is not None
        assert sum_exp_logits is not None
        logits = input.float() @ weight.float().T
        softmax = (logits - logits_max.unsqueeze(-1)).exp() / sum_exp_logits.unsqueeze(-1)
    token = torch.arange(input.shape[0])
    own = ~_from_bits(target_mask, input.shape[0])
    grad_logits = softmax.float().clone()
    grad_logits[token, masked_target.long()] -= own.float()
    grad_logits *= grad.float().unsqueeze(-1)
    grad_input = grad_logits @ weight.float()
    return grad_input.to(input.dtype), (grad_logits.T @ input.float()).to(input.dtype)


@chapter.reference(
    "npu::npu_softmax_cross_entropy_with_logits",
    source=code_of("aclops/SoftmaxCrossEntropyWithLogitsKernelNpu.cpp"),
)
def softmax_cross_entropy_with_logits(input: Tensor, labels: Tensor) -> Tensor:
    """Cross entropy of each row of logits with a row of probabilities [batch]."""
    return -(labels.float() * torch.log_softmax(input.float(), -1)).sum(-1).to(input.dtype)


@chapter.reference(
    "npu::npu_softmax_cross_entropy_with_logits_backward",
    source=code_of("aclops/SoftmaxCrossEntropyWithLogitsKernelNpu.cpp"),
)
def softmax_cross_entropy_with_logits_backward(
    grad: Tensor, input: Tensor, labels: Tensor
) -> Tensor:
    """Gradient of the logits; as on the chip, of labels that add up to one."""
    slope = torch.softmax(input.float(), -1) - labels.float()
    return (slope * grad.float().unsqueeze(-1)).to(input.dtype)


@chapter.gradient("npu::npu_softmax_cross_entropy_with_logits")
def softmax_cross_entropy_gradient(
    arguments: tuple[Any, ...], outputs: tuple[Any, ...], grads: tuple[Tensor | None, ...]
) -> tuple[Tensor | None, ...]:
    """The chip's own backward, which gives no gradient for the labels."""
    (grad,) = grads
    if grad is None:
        return None, None
    return softmax_cross_entropy_with_logits_backward(grad, *arguments), None


@chapter.reference(
    "npu::npu_binary_cross_entropy_with_logits_backward",
    source=code_of("aclops/BinaryCrossEntropyWithLogitsKernelNpu.cpp"),
)
def binary_cross_entropy_with_logits_backward(
    grad_output: Tensor,
    input: Tensor,
    target: Tensor,
    weight_opt: Tensor | None,
    pos_weight_opt: Tensor | None,
    reduction: int,
) -> Tensor:
    """Gradient of `input`."""

    def loss(logits: Tensor) -> Tensor:
        weight = None if weight_opt is None else weight_opt.float()
        pos_weight = None if pos_weight_opt is None else pos_weight_opt.float()
        return functional.binary_cross_entropy_with_logits(
            logits, target.float(), weight, pos_weight=pos_weight, reduction=REDUCTIONS[reduction]
        )

    return _gradient(loss, input, grad_output)


@chapter.reference("npu::kl_div_backward", source=code_of("aclops/KlDivBackwardKernelNpu.cpp"))
def kl_div_backward(
    grad_output: Tensor,
    input: Tensor,
    target: Tensor,
    reduction: int = 1,
    log_target: bool = False,
) -> Tensor:
    """Gradient of the log probabilities `input`."""

    def loss(value: Tensor) -> Tensor:
        return _divergence(value, target.float(), reduction, log_target)

    return _gradient(loss, input, grad_output)


@chapter.reference("npu::kl_div_target_backward", source=CONFIG)
def kl_div_target_backward(
    grad_output: Tensor,
    input: Tensor,
    target: Tensor,
    reduction: int = 1,
    log_target: bool = False,
) -> Tensor:
    """Gradient of the probabilities `target`."""

    def loss(value: Tensor) -> Tensor:
        return _divergence(input.float(), value, reduction, log_target)

    return _gradient(loss, target, grad_output)


@chapter.reference("npu::l1_loss_backward", source=CONFIG)
def l1_loss_backward(grad_output: Tensor, input: Tensor, target: Tensor, reduction: int) -> Tensor:
    """Gradient of |input - target|, for each element of their common shape."""
    difference = input.float() - target.float()
    grad = torch.sign(difference) * grad_output.float()
    if REDUCTIONS[reduction] == "mean":
        grad = grad / difference.numel()
    dtype = torch.promote_types(grad_output.dtype, torch.result_type(target, input))
    return grad.to(dtype)


def _class_loss(
    log_prob: Tensor,
    target: Tensor,
    weight: Tensor | None,
    reduction: str,
    ignore_index: int,
    label_smoothing: float,
) -> Tensor:
    classes = log_prob.shape[-1]
    weight = torch.ones(classes) if weight is None else weight.float()
    own = weight[target]
    # Ignored targets count for nothing, not even in the mean. A negative index ignores none.
    counted = (target != ignore_index).float() if ignore_index >= 0 else torch.ones(len(target))
    plain = -log_prob.gather(-1, target.unsqueeze(-1)).squeeze(-1) * own
    smooth = -(log_prob * weight).sum(-1) / classes
    each = ((1 - label_smoothing) * plain + label_smoothing * smooth) * counted
    if reduction == "none":
        return each
    total = each.sum().reshape(1)
    return total / (own * counted).sum() if reduction == "mean" else total


def _divergence(input: Tensor, target: Tensor, reduction: int, log_target: bool) -> Tensor:
    each = functional.kl_div(input, target, reduction="none", log_target=log_target)
    reduce = REDUCTIONS[reduction]
    return each if reduce == "none" else each.mean() if reduce == "mean" else each.sum()


def _gradient(loss: Any, value: Tensor, grad_output: Tensor) -> Tensor:
    """Gradient of `loss` at `value`, in the type of `value`."""
    with torch.no_grad():
        shape = loss(value.float()).shape
    grad = grad_output.float()
    grad = grad.expand(shape) if grad.numel() != 1 or shape else grad.reshape(shape)
    (found,) = vjp(loss, (value.float(),), (grad,))
    assert found is not None
    return found.to(value.dtype)


def _bits(flags: Tensor) -> Tensor:
    """One bit for each flag, the first in the highest; the last byte is filled up with ones."""
    padded = torch.ones(-(-len(flags) // 8) * 8, dtype=torch.int64)
    padded[: len(flags)] = flags.long()
    return (padded.reshape(-1, 8) << torch.arange(7, -1, -1)).sum(-1).to(torch.uint8)


def _from_bits(packed: Tensor, count: int) -> Tensor:
    return ((packed.long().unsqueeze(-1) >> torch.arange(7, -1, -1)) & 1).flatten()[:count].bool()
