"""Softmax operators around attention, against PyTorch's own maths."""

import torch
from torch import Tensor

from cordee.emulator.ops.attention.softmax import (
    attn_softmax_,
    attn_softmax_backward_,
    masked_softmax_with_rel_pos_bias,
    scaled_masked_softmax,
    scaled_masked_softmax_backward,
)


def normal(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))


def test_scores_are_scaled_then_masked() -> None:
    x, mask, grad = (
        normal(2, 3, 4, 5).requires_grad_(),
        normal(2, 1, 4, 5) > 0.3,
        normal(2, 3, 4, 5),
    )

    y = scaled_masked_softmax(x.detach(), mask, 0.4)
    found = scaled_masked_softmax_backward(grad, y, mask, 0.4, False)

    expected = (0.4 * x).masked_fill(mask, -10000.0).softmax(-1)
    torch.testing.assert_close(y, expected.detach())
    torch.testing.assert_close(found, torch.autograd.grad(expected, x, grad)[0])


def test_a_fixed_mask_hides_the_upper_triangle() -> None:
    x = normal(1, 2, 6, 6)

    y = scaled_masked_softmax(x, torch.zeros(1, 1, 6, 6, dtype=torch.bool), 1.0, True)

    below = torch.ones(6, 6, dtype=torch.bool).tril()
    torch.testing.assert_close(y, x.masked_fill(~below, -torch.inf).softmax(-1))


def test_windows_get_a_mask_and_a_bias() -> None:
    x, mask, bias = normal(1, 2, 3, 4, 4), normal(1, 2, 1, 4, 4), normal(1, 1, 3, 4, 4)

    y = masked_softmax_with_rel_pos_bias(x, mask, bias, 0.5)

    torch.testing.assert_close(y, (0.5 * x + mask + bias).softmax(-1))


def test_softmax_and_its_gradient_are_written_in_place() -> None:
    logits, grad, values = normal(2, 4, 5).requires_grad_(), normal(2, 4, 3), normal(2, 5, 3)
    weights = logits.softmax(-1)
    wanted = torch.autograd.grad(weights @ values, logits, grad)[0]
    given = logits.detach().clone()

    assert attn_softmax_(given) is given
    torch.testing.assert_close(given, weights.detach())
    assert attn_softmax_backward_(given, grad, values) is given
    torch.testing.assert_close(given, wanted)
