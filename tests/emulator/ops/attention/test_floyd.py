"""npu_fused_floyd_attention against autograd over its formula."""

import torch
from torch import Tensor

from cordee.emulator.ops.attention.floyd import (
    fused_floyd_attention,
    fused_floyd_attention_backward,
)


def normal(*shape: int, seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_pairs_attend_over_what_lies_between_them() -> None:
    shapes = [(1, 2, 3, 4, 8), (1, 2, 3, 5, 8), (1, 2, 3, 5, 8), (1, 2, 5, 4, 8), (1, 2, 5, 4, 8)]
    leaves = [normal(*s, seed=i).requires_grad_() for i, s in enumerate(shapes)]
    query, key_ij, value_ij, key_jk, value_jk = leaves
    mask = normal(1, 1, 3, 1, 5, seed=9) > 1
    scores = 0.3 * (
        (query.unsqueeze(4) * key_ij.unsqueeze(3)).sum(-1)
        + (query.unsqueeze(4) * key_jk.transpose(2, 3).unsqueeze(2)).sum(-1)
    )
    weights = scores.masked_fill(mask, -torch.inf).softmax(-1).unsqueeze(-1)
    between = value_ij.unsqueeze(3) + value_jk.transpose(2, 3).unsqueeze(2)
    expected, grad = (weights * between).sum(4), normal(1, 2, 3, 4, 8, seed=7)
    wanted = torch.autograd.grad(expected, leaves, grad)
    inputs = [leaf.detach() for leaf in leaves]

    maximum, total, out = fused_floyd_attention(*inputs, mask, 0.3)
    found = fused_floyd_attention_backward(grad, *inputs, out, maximum, total, mask, 0.3)

    torch.testing.assert_close(out, expected.detach())
    assert maximum.shape == total.shape == (1, 2, 3, 4, 8)
    for gradient, want in zip(found, wanted, strict=True):
        torch.testing.assert_close(gradient, want)
