"""npu_fused_attention_score: attention as BERT had it, and the layer norm and projections before.

The vendor plans to drop these; npu_fusion_attention takes their place.
"""

import torch
from torch import Tensor

from cordee.emulator.ops.attention.dropout import current_seed
from cordee.emulator.ops.contract import refuse
from cordee.emulator.ops.demands import require
from cordee.emulator.ops.reference import Chapter
from cordee.emulator.ops.sources import code_of, page_of

chapter = Chapter(source=page_of("npu_fused_attention_score", beta=True))


@chapter.reference("npu::npu_fused_attention_score")
def fused_attention_score(*values: object, **named: object) -> Tensor:
    """Attention [B * S, N * D]."""
    out: Tensor = fused_attention_score_fwd(*values, **named)[0]
    return out


@chapter.reference("npu::npu_fused_attention_score_fwd")
def fused_attention_score_fwd(
    query_layer: Tensor,
    key_layer: Tensor,
    value_layer: Tensor,
    attention_mask: Tensor,
    scale: float,
    keep_prob: float,
    query_transpose: bool = False,
    key_transpose: bool = False,
    bmm_score_transpose_a: bool = False,
    bmm_score_transpose_b: bool = False,
    value_transpose: bool = False,
    dx_transpose: bool = False,
) -> tuple[Tensor, Tensor, Tensor]:
    """Attention [B * S, N * D], the softmax [B, N, S, S], and what dropout keeps, a byte each."""
    require(query_layer.dim() >= 4, "query_layer must be at least 4-dimensional")
    refuse(
        "npu_fused_attention_score",
        query_transpose=query_transpose,
        key_transpose=key_transpose,
        bmm_score_transpose_a=bmm_score_transpose_a,
        bmm_score_transpose_b=bmm_score_transpose_b,
        value_transpose=value_transpose,
    )
    scores = query_layer.float() @ key_layer.float().mT * scale + attention_mask.float()
    softmax = scores.softmax(-1)
    kept = _kept(softmax, keep_prob)
    weights = softmax * kept.view(softmax.shape) / keep_prob
    dtype = query_layer.dtype
    return _flat(weights @ value_layer.float()).to(dtype), softmax.to(dtype), kept


@chapter.reference("npu::npu_fused_attention_score_backward")
def fused_attention_score_backward(
    grad_output: Tensor,
    softmax_output: Tensor,
    query_layer: Tensor,
    key_layer: Tensor,
    value_layer: Tensor,
    mask: Tensor,
    scale: float,
    keep_prob: float,
    query_transpose: bool = False,
    key_transpose: bool = False,
    value_transpose: bool = False,
    dx_transpose: bool = False,
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of query, key and value [B, N, S, D]."""
    refuse(
        "npu_fused_attention_score_backward",
        query_transpose=query_transpose,
        key_transpose=key_transpose,
        value_transpose=value_transpose,
    )
    batch, heads, length, _ = query_layer.shape
    grad = grad_output.float().view(batch, length, heads, -1).transpose(1, 2)
    kept = mask.view(softmax_output.shape).float() / keep_prob
    softmax = softmax_output.float()
    grad_softmax = grad @ value_layer.float().mT * kept
    product = grad_softmax * softmax
    grad_scores = (product - softmax * product.sum(-1, keepdim=True)) * scale
    dtype = grad_output.dtype
    return (
        (grad_scores @ key_layer.float()).to(dtype),
        (grad_scores.mT @ query_layer.float()).to(dtype),
        ((softmax * kept).mT @ grad).to(dtype),
    )


@chapter.reference("npu::npu_fused_attention_score_grad")
def fused_attention_score_grad(*values: object, **named: object) -> tuple[Tensor, ...]:
    """The same gradients, laid out as the output is: [B * S, N * D]."""
    return tuple(_flat(g) for g in fused_attention_score_backward(*values, **named))


@chapter.gradient("npu::npu_fused_attention_score_fwd")
def fused_attention_score_gradient(
    arguments: tuple[object, ...],
    outputs: tuple[Tensor, Tensor, Tensor],
    grads: tuple[Tensor | None, ...],
) -> tuple[Tensor | None, ...]:
    """What autograd runs: the backward operator."""
    if grads[0] is None:
        return (None,) * len(arguments)
    query, key, value, _, scale, keep_prob = arguments[:6]
    found = fused_attention_score_backward(
        grads[0], outputs[1], query, key, value, outputs[2], scale, keep_prob
    )
    return (*found, *(None,) * (len(arguments) - 3))


@chapter.reference(
    "npu::npu_fused_attention_layernorm_qkv_fwd", source=code_of("aclops/FusedAttentionLnQKV.cpp")
)
def fused_attention_layernorm_qkv_fwd(
    x: Tensor,
    kernel_query: Tensor,
    kernel_key: Tensor,
    kernel_value: Tensor,
    gamma: Tensor,
    beta: Tensor,
    bias_query: Tensor | None = None,
    bias_key: Tensor | None = None,
    bias_value: Tensor | None = None,
    seq_len: int = 128,
    num_heads: int = 12,
    eps: float = 1e-05,
) -> list[Tensor]:
    """Norm of `x` [B * S, H], query, key and value [B, N, S, D], mean and variance [B * S]."""
    require(
        x.shape[0] % seq_len == 0 and x.shape[1] % num_heads == 0,
        "In npu_fused_attention_layernorm_qkv_fwd, x.size(0) should be divisible by seq_len "
        "and x.size(1) should be divisible by num_heads.",
    )
    wide = x.float()
    variance, mean = torch.var_mean(wide, -1, correction=0)
    norm = (wide - mean.unsqueeze(-1)) * (variance.unsqueeze(-1) + eps).rsqrt()
    norm = norm * gamma.float() + beta.float()
    projected = []
    for kernel, bias in (
        (kernel_query, bias_query),
        (kernel_key, bias_key),
        (kernel_value, bias_value),
    ):
        rows = norm @ kernel.float()
        rows = rows if bias is None else rows + bias.float()
        split = rows.view(-1, seq_len, num_heads, rows.shape[-1] // num_heads)
        projected.append(split.transpose(1, 2).contiguous().to(kernel.dtype))
    return [norm.to(x.dtype), *projected, mean.to(x.dtype), variance.to(x.dtype)]


@chapter.reference(
    "npu::npu_fused_attention_qkv_grad", source=code_of("aclops/FusedAttentionQKVGradKernelNpu.cpp")
)
def fused_attention_qkv_grad(
    grad_output_query: Tensor,
    grad_output_key: Tensor,
    grad_output_value: Tensor,
    query_kernel: Tensor,
    key_kernel: Tensor,
    value_kernel: Tensor,
    hidden_states: Tensor,
    grad_output_ln: Tensor,
) -> list[Tensor]:
    """Gradients of the tokens, of the three kernels, and of the three biases."""
    grads = [g.float() for g in (grad_output_query, grad_output_key, grad_output_value)]
    kernels = (query_kernel, key_kernel, value_kernel)
    hidden = grad_output_ln.float()
    for grad, kernel in zip(grads, kernels, strict=True):
        hidden = hidden + grad @ kernel.float().T
    of_kernels = [(hidden_states.float().T @ grad).to(query_kernel.dtype) for grad in grads]
    of_biases = [grad.sum(0).to(query_kernel.dtype) for grad in grads]
    return [hidden.to(hidden_states.dtype), *of_kernels, *of_biases]


def _kept(softmax: Tensor, keep_prob: float) -> Tensor:
    if keep_prob == 1:
        return torch.ones(softmax.numel(), dtype=torch.uint8)
    # The adapter gives the kernel the generator's seed and does not move it on.
    generator = torch.Generator().manual_seed(current_seed())
    return (torch.rand(softmax.numel(), generator=generator) < keep_prob).to(torch.uint8)


def _flat(heads: Tensor) -> Tensor:
    """[B * S, N * D] of [B, N, S, D]."""
    return heads.transpose(1, 2).flatten(2).flatten(0, 1)
