"""npu_multi_head_attention: the whole layer, from projections to projection.

The operator is a row of kernels: what one hands to the next is a tensor of the inputs' type, so
each step rounds to it.

Vaswani et al., "Attention Is All You Need" (arXiv:1706.03762), section 3.2.2.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from cordee.emulator.ops.attention import dropout
from cordee.emulator.ops.demands import require
from cordee.emulator.ops.reference import Chapter
from cordee.emulator.ops.sources import page_of

chapter = Chapter(source=page_of("npu_multi_head_attention", beta=True))

ALIGNED = 16


class Layer(NamedTuple):
    """Sizes of a layer."""

    heads: int
    size: int
    keys: int
    queries: int

    def check(self) -> None:
        """Raise RuntimeError where the chip has no layer of these sizes."""
        require(
            all(n > 0 for n in self),
            "tgt_len, src_len, attn_head_num, attn_dim_per_head should not equal zero.",
        )
        require(
            all(n % ALIGNED == 0 for n in self),
            "tgt_len, src_len, attn_head_num, attn_dim_per_head should align to 16.",
        )

    def split(self, rows: Tensor, length: int) -> Tensor:
        """[B, N, S, D] of [B * S, N * D]."""
        return rows.view(-1, length, self.heads, self.size).transpose(1, 2)


@chapter.reference("npu::npu_multi_head_attention", seeded=False)
def multi_head_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    query_weight: Tensor,
    key_weight: Tensor,
    value_weight: Tensor,
    attn_mask: Tensor,
    out_proj_weight: Tensor,
    query_bias: Tensor | None,
    key_bias: Tensor | None,
    value_bias: Tensor | None,
    out_proj_bias: Tensor | None,
    dropout_mask: Tensor | None,
    attn_head_num: int,
    attn_dim_per_head: int,
    src_len: int,
    tgt_len: int,
    dropout_prob: float,
    softmax_use_float: bool,
) -> tuple[Tensor, ...]:
    """Output, packed dropout mask, query, key, value, softmax, the same with dropout, context."""
    layer = Layer(attn_head_num, attn_dim_per_head, src_len, tgt_len)
    layer.check()
    dtype = query.dtype
    rows = _linear(query, query_weight, query_bias).float() * attn_dim_per_head**-0.5
    queries = layer.split(rows.to(dtype), tgt_len)
    keys = layer.split(_linear(key, key_weight, key_bias), src_len)
    values = layer.split(_linear(value, value_weight, value_bias), src_len)
    scores = _product(queries, keys.mT, dtype) + attn_mask
    softmax = scores.float().softmax(-1).to(torch.float32 if softmax_use_float else dtype)
    bits = _bits(query, softmax, dropout_prob) if dropout_mask is None else dropout_mask.clone()
    kept = dropout.unpacked(bits, softmax.numel()).view(softmax.shape)
    weights = (softmax.to(dtype).float() * kept / (1 - dropout_prob)).to(dtype)
    context = _rows(_product(weights, values, dtype))
    out = _linear(context, out_proj_weight, out_proj_bias)
    saved = [t.contiguous() for t in (queries, keys, values)]
    return (out, bits, *saved, softmax, weights, context)


@chapter.reference("npu::npu_multi_head_attention_backward")
def multi_head_attention_backward(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    query_weight: Tensor,
    key_weight: Tensor,
    value_weight: Tensor,
    out_proj_weight: Tensor,
    query_bias: Tensor | None,
    key_bias: Tensor | None,
    value_bias: Tensor | None,
    out_proj_bias: Tensor | None,
    query_res: Tensor,
    key_res: Tensor,
    value_res: Tensor,
    attn_scores: Tensor,
    attn_res: Tensor,
    context: Tensor,
    y_grad: Tensor,
    dropout_mask: Tensor,
    attn_head_num: int,
    attn_dim_per_head: int,
    src_len: int,
    tgt_len: int,
    dropout_prob: float,
    softmax_use_float: bool,
) -> tuple[Tensor, ...]:
    """Gradients of the four weights, of query, key and value, and of the four biases [1, width]."""
    layer = Layer(attn_head_num, attn_dim_per_head, src_len, tgt_len)
    layer.check()
    dtype = query.dtype
    grad_context = layer.split(_product(y_grad, out_proj_weight, dtype), tgt_len)
    softmax = attn_scores.float()
    kept = dropout.unpacked(dropout_mask, softmax.numel()).view(softmax.shape) / (1 - dropout_prob)
    grad_weights = (_product(grad_context, value_res.mT, dtype).float() * kept).to(dtype)
    product = grad_weights.float() * softmax
    grad_scores = (product - softmax * product.sum(-1, keepdim=True)).to(dtype)
    grad_rows = _rows(_product(grad_scores, key_res, dtype)).float() * attn_dim_per_head**-0.5
    grads = [
        grad_rows.to(dtype),
        _rows(_product(grad_scores.mT, query_res, dtype)),
        _rows(_product(attn_res.mT, grad_context, dtype)),
    ]
    sides = zip(grads, (query, key, value), (query_weight, key_weight, value_weight), strict=True)
    of_weights, of_inputs = [], []
    for grad, tensor, weight in sides:
        of_weights.append(_product(grad.T, tensor, dtype))
        of_inputs.append(_product(grad, weight, dtype))
    of_weights.append(_product(y_grad.T, context, dtype))
    of_biases = [grad.float().sum(0, keepdim=True).to(dtype) for grad in (*grads, y_grad)]
    return (*of_weights, *of_inputs, *of_biases)


@chapter.gradient("npu::npu_multi_head_attention")
def multi_head_attention_gradient(
    arguments: tuple[object, ...],
    outputs: tuple[Tensor, ...],
    grads: tuple[Tensor | None, ...],
) -> tuple[Tensor | None, ...]:
    """What autograd runs: the backward operator."""
    if grads[0] is None:
        return (None,) * len(arguments)
    inputs, weights, biases = arguments[:3], arguments[3:6], arguments[8:12]
    found = multi_head_attention_backward(
        *inputs, *weights, arguments[7], *biases, *outputs[2:8], grads[0], outputs[1],
        *arguments[13:],
    )  # fmt: skip
    of_biases = [
        None if bias is None else grad.view_as(bias)
        for bias, grad in zip(biases, found[7:], strict=True)
    ]
    return (*found[4:7], *found[:3], None, found[3], *of_biases, *(None,) * 7)


def _product(a: Tensor, b: Tensor, dtype: torch.dtype) -> Tensor:
    return (a.float() @ b.float()).to(dtype)


def _linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    out = x.float() @ weight.float().T
    return (out if bias is None else out + bias.float()).to(x.dtype)


def _rows(heads: Tensor) -> Tensor:
    """[B * S, N * D] of [B, N, S, D]."""
    return heads.transpose(1, 2).flatten(2).flatten(0, 1)


def _bits(like: Tensor, softmax: Tensor, drop_prob: float) -> Tensor:
    if drop_prob == 0:
        return torch.full((softmax.numel() // 8,), 255, dtype=torch.uint8)
    seed, offset = dropout.draw()
    bits = dropout.generated_bits(like, 1 - drop_prob, seed, offset, softmax.numel())
    return bits[: softmax.numel() // 8].clone()
