"""Losses against PyTorch's own and their backwards against autograd."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from cordee.core.errors import NotEmulated
from cordee.emulator.ops import losses as losses
from cordee.emulator.ops.reference import REFERENCES

REDUCTIONS = ["none", "mean", "sum"]


def run(name: str, *arguments: object, **options: object) -> tuple[Tensor, ...]:
    found = REFERENCES[f"npu::{name}"].function(*arguments, **options)
    return found if isinstance(found, tuple) else (found,)


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("ignore_index", [-100, 2])
def test_cross_entropy_is_pytorchs(reduction: str, weighted: bool, ignore_index: int) -> None:
    x, target = torch.randn(6, 5), torch.tensor([0, 1, 2, 3, 4, 2])
    weight = torch.rand(5) if weighted else None
    options = {"weight": weight, "reduction": reduction, "ignore_index": ignore_index}
    loss, log_prob, zloss, lse = run("npu_cross_entropy_loss", x, target, **options)
    expected = F.cross_entropy(x, target, **options)
    torch.testing.assert_close(loss, expected.reshape(-1))
    torch.testing.assert_close(log_prob, torch.log_softmax(x, -1))
    assert zloss.shape == lse.shape == (0,)


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_label_smoothing_shares_the_target_among_all_classes(reduction: str) -> None:
    x, target = torch.randn(6, 5), torch.randint(0, 5, (6,))
    options = {"reduction": reduction, "label_smoothing": 0.3}
    loss = run("npu_cross_entropy_loss", x, target, **options)[0]
    torch.testing.assert_close(loss, F.cross_entropy(x, target, **options).reshape(-1))


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_cross_entropy_backward_is_the_derivative(reduction: str) -> None:
    x, target = torch.randn(6, 5, requires_grad=True), torch.tensor([0, 1, 2, 3, 4, 2])
    options = {"weight": torch.rand(5), "reduction": reduction, "ignore_index": 2}
    loss, log_prob, _, _ = run("npu_cross_entropy_loss", x, target, **options)
    grad = torch.randn_like(loss)
    reference = F.cross_entropy(x, target, **options).reshape(-1)
    (expected,) = torch.autograd.grad(reference, x, grad)
    (differentiated,) = torch.autograd.grad(loss, x, grad)
    (found,) = run("npu_cross_entropy_loss_backward", grad, log_prob, target, **options)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(differentiated, expected)


def test_z_loss_is_refused_by_name() -> None:
    with pytest.raises(NotEmulated, match="return_zloss"):
        run("npu_cross_entropy_loss", torch.randn(2, 3), torch.zeros(2).long(), return_zloss=True)


def test_a_divided_vocabulary_gives_the_whole_cross_entropy() -> None:
    x, weight = torch.randn(10, 8).half(), torch.randn(12, 8).half()
    target = torch.randint(0, 12, (10,))
    parts = [
        run("npu_fused_linear_online_max_sum", x, weight[a:b], target, a, b - 1, True)
        for a, b in ((0, 5), (5, 12))
    ]
    largest = torch.maximum(parts[0][0], parts[1][0])
    total = sum(part[1] * (part[0] - largest).exp() for part in parts)
    # The predicted logits are relative to the chip's own largest; each belongs to one chip.
    predicted = torch.zeros(10)
    for part, (a, b) in zip(parts, ((0, 5), (5, 12)), strict=True):
        own = (target >= a) & (target < b)
        predicted += torch.where(own, part[2] + part[0] - largest, 0.0)
    for part, (a, b) in zip(parts, ((0, 5), (5, 12)), strict=True):
        loss, softmax = run(
            "npu_fused_cross_entropy_loss_with_max_sum",
            largest,
            total,
            predicted,
            vocab_parallel_logits=part[5],
        )
        logits = x.float() @ weight.float().T
        torch.testing.assert_close(loss, F.cross_entropy(logits, target, reduction="none"))
        everything = torch.softmax(logits, -1)
        torch.testing.assert_close(softmax, everything[:, a:b], atol=2e-3, rtol=2e-3)


@pytest.mark.parametrize("keep_softmax", [False, True])
def test_the_divided_backward_is_the_derivative(keep_softmax: bool) -> None:
    x = torch.randn(10, 8, requires_grad=True)
    weight = torch.randn(12, 8, requires_grad=True)
    target, grad = torch.randint(0, 12, (10,)), torch.randn(10)
    logits = x @ weight.T
    expected = torch.autograd.grad(
        F.cross_entropy(logits, target, reduction="none"), (x, weight), grad
    )
    with torch.no_grad():
        own = run("npu_fused_linear_online_max_sum", x, weight[5:], target, 5, 11)
        largest = logits.amax(-1)
        total = (logits - largest.unsqueeze(-1)).exp().sum(-1)
        softmax = torch.softmax(logits, -1)[:, 5:] if keep_softmax else None
        found = run(
            "npu_fused_linear_cross_entropy_loss_with_max_sum_backward",
            grad,
            x,
            weight[5:],
            own[3],
            own[4],
            0.0,
            largest,
            total,
            softmax,
        )
    torch.testing.assert_close(found[1], expected[1][5:])
    rest = torch.softmax(logits.detach(), -1) - F.one_hot(target, 12)
    of_others = (rest[:, :5] * grad.unsqueeze(1)) @ weight.detach()[:5]
    torch.testing.assert_close(found[0] + of_others, expected[0])


def test_foreign_targets_are_a_bit_each_with_the_first_in_front() -> None:
    target = torch.tensor([0, 9, 0, 0, 9, 0, 0, 0, 9, 0])
    mask = run(
        "npu_fused_linear_online_max_sum", torch.zeros(10, 2), torch.zeros(4, 2), target, 0, 3
    )[3]
    assert [f"{byte:08b}" for byte in mask.tolist()] == ["01001000", "10111111"]


def test_softmax_cross_entropy_takes_rows_of_probabilities() -> None:
    x, labels = torch.randn(4, 6), torch.softmax(torch.randn(4, 6), -1)
    (loss,) = run("npu_softmax_cross_entropy_with_logits", x, labels)
    torch.testing.assert_close(loss, F.cross_entropy(x, labels, reduction="none"))
    x.requires_grad_()
    grad = torch.randn(4)
    reference = F.cross_entropy(x, labels, reduction="none")
    (expected,) = torch.autograd.grad(reference, x, grad)
    (found,) = run("npu_softmax_cross_entropy_with_logits_backward", grad, x.detach(), labels)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("reduction", range(3))
def test_binary_cross_entropy_backward_is_the_derivative(reduction: int) -> None:
    x, target = torch.randn(3, 4, requires_grad=True), torch.rand(3, 4)
    weight, positive = torch.rand(3, 4), torch.rand(4)
    reference = F.binary_cross_entropy_with_logits(
        x, target, weight, reduction=REDUCTIONS[reduction], pos_weight=positive
    )
    grad = torch.randn_like(reference)
    (expected,) = torch.autograd.grad(reference, x, grad)
    (found,) = run(
        "npu_binary_cross_entropy_with_logits_backward",
        grad,
        x.detach(),
        target,
        weight,
        positive,
        reduction,
    )
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("reduction", range(3))
@pytest.mark.parametrize("log_target", [False, True])
def test_divergence_backwards_are_the_derivatives(reduction: int, log_target: bool) -> None:
    x = torch.log_softmax(torch.randn(3, 4), -1).requires_grad_()
    target = torch.log_softmax(torch.randn(3, 4), -1) if log_target else torch.rand(3, 4) + 0.1
    target = target.detach().requires_grad_()
    each = F.kl_div(x, target, reduction="none", log_target=log_target)
    reference = (each, each.mean(), each.sum())[reduction]
    grad = torch.randn_like(reference)
    expected = torch.autograd.grad(reference, (x, target), grad)
    given = (grad, x.detach(), target.detach(), reduction)
    (of_x,) = run("kl_div_backward", *given, log_target=log_target)
    (of_target,) = run("kl_div_target_backward", *given, log_target=log_target)
    torch.testing.assert_close((of_x, of_target), expected)


@pytest.mark.parametrize("reduction", range(3))
def test_absolute_error_backward_is_the_derivative(reduction: int) -> None:
    x, target = torch.randn(3, 4, requires_grad=True), torch.randn(3, 4)
    reference = F.l1_loss(x, target, reduction=REDUCTIONS[reduction])
    grad = torch.randn_like(reference)
    (expected,) = torch.autograd.grad(reference, x, grad)
    torch.testing.assert_close(
        run("l1_loss_backward", grad, x.detach(), target, reduction)[0], expected
    )
