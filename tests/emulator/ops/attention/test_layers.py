"""Attention layers as BERT had them, against autograd over PyTorch's own operators."""

import torch
from torch import Tensor
from torch.nn.functional import layer_norm, linear

from cordee.emulator.ops.attention.multi_head import (
    multi_head_attention,
    multi_head_attention_gradient,
)
from cordee.emulator.ops.attention.scores import (
    fused_attention_layernorm_qkv_fwd,
    fused_attention_qkv_grad,
    fused_attention_score_backward,
    fused_attention_score_fwd,
)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed + sum(shape)))


def test_attention_of_heads_is_laid_out_by_token() -> None:
    leaves = [normal(2, 3, 4, 5, seed=i).requires_grad_() for i in range(3)]
    mask, grad = normal(2, 3, 4, 4), normal(8, 15)
    query, key, value = leaves
    weights = (query @ key.mT * 0.3 + mask).softmax(-1)
    expected = (weights @ value).transpose(1, 2).reshape(8, 15)
    inputs = [leaf.detach() for leaf in leaves]

    out, softmax, kept = fused_attention_score_fwd(*inputs, mask, 0.3, 1.0)
    found = fused_attention_score_backward(grad, softmax, *inputs, kept, 0.3, 1.0)

    torch.testing.assert_close(out, expected.detach())
    torch.testing.assert_close(softmax, weights.detach())
    assert kept.all()
    for gradient, want in zip(found, torch.autograd.grad(expected, leaves, grad), strict=True):
        torch.testing.assert_close(gradient, want)


def test_dropped_weights_stay_dropped_in_the_backward() -> None:
    leaves = [normal(1, 2, 4, 4, seed=i).requires_grad_() for i in range(3)]
    kept, grad = normal(32) > 0, normal(4, 8)
    query, key, value = leaves
    softmax = (query @ key.mT).softmax(-1)
    expected = (softmax * kept.view(1, 2, 4, 4) / 0.5 @ value).transpose(1, 2).reshape(4, 8)
    inputs = [leaf.detach() for leaf in leaves]

    found = fused_attention_score_backward(grad, softmax.detach(), *inputs, kept, 1.0, 0.5)

    for gradient, want in zip(found, torch.autograd.grad(expected, leaves, grad), strict=True):
        torch.testing.assert_close(gradient, want)


def test_tokens_are_normed_and_projected() -> None:
    x, gamma, beta = normal(6, 8), normal(8), normal(8)
    kernels = [normal(8, 8, seed=i).requires_grad_() for i in range(3)]
    biases = [normal(8, seed=i).requires_grad_() for i in range(3)]
    plain = [t.detach() for t in (*kernels, gamma, beta, *biases)]

    norm, *heads, mean, variance = fused_attention_layernorm_qkv_fwd(x, *plain, 3, 2)

    hidden = layer_norm(x, (8,), gamma, beta, 1e-5).requires_grad_()
    torch.testing.assert_close(norm, hidden.detach())
    torch.testing.assert_close(mean, x.mean(-1))
    torch.testing.assert_close(variance, x.var(-1, correction=0))
    rows = [linear(hidden, k.T, b) for k, b in zip(kernels, biases, strict=True)]
    for head, row in zip(heads, rows, strict=True):
        torch.testing.assert_close(head, row.detach().view(2, 3, 2, 4).transpose(1, 2))
    grads = [normal(6, 8, seed=10 + i) for i in range(3)]
    found = fused_attention_qkv_grad(*grads, *plain[:3], norm, torch.ones(6, 8))
    wanted = torch.autograd.grad(rows, (hidden, *kernels, *biases), grads)
    torch.testing.assert_close(found[0], wanted[0] + 1)
    for gradient, want in zip(found[1:], wanted[1:], strict=True):
        torch.testing.assert_close(gradient, want)


def test_a_whole_layer_matches_its_parts_and_their_gradients() -> None:
    batch, heads, size, length, width = 1, 16, 16, 16, 256
    inputs = [normal(batch * length, width, seed=i).requires_grad_() for i in range(3)]
    weights = [(normal(width, width, seed=i) / 16).requires_grad_() for i in range(4)]
    biases = [normal(width, seed=i).requires_grad_() for i in range(4)]
    mask, grad = normal(batch, heads, length, length), normal(batch * length, width)

    def split(rows: Tensor) -> Tensor:
        return rows.view(batch, length, heads, size).transpose(1, 2)

    query, key, value = (
        split(linear(x, w, b)) for x, w, b in zip(inputs, weights[:3], biases[:3], strict=True)
    )
    softmax = (query @ key.mT / 4 + mask).softmax(-1)
    context = (softmax @ value).transpose(1, 2).reshape(-1, width)
    expected = linear(context, weights[3], biases[3])
    x, w, b = ([t.detach() for t in group] for group in (inputs, weights, biases))
    arguments = (*x, *w[:3], mask, w[3], *b, None, heads, size, length, length, 0.0, True)

    outputs = multi_head_attention(*arguments)
    found = multi_head_attention_gradient(arguments, outputs, (grad,))

    torch.testing.assert_close(outputs[0], expected.detach(), rtol=1e-4, atol=1e-4)
    assert outputs[1].shape == (heads * length * length // 8,)
    torch.testing.assert_close(outputs[5], softmax.detach())
    wanted = torch.autograd.grad(expected, (*inputs, *weights[:3], weights[3], *biases), grad)
    given = [gradient for gradient in found if gradient is not None]
    for gradient, want in zip(given, wanted, strict=True):
        torch.testing.assert_close(gradient, want, rtol=1e-3, atol=1e-3)
