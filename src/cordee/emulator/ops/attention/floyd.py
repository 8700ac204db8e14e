"""npu_fused_floyd_attention: attention of pairs (i, k) over every j between them.

The score of j adds up what (i, k) has with (i, j) and with (j, k), and so does the value.
"""

import torch
from torch import Tensor

from cordee.emulator.ops.attention.fusion import STATISTIC_COPIES
from cordee.emulator.ops.reference import Chapter
from cordee.emulator.ops.sources import page_of

chapter = Chapter(source=page_of("npu_fused_floyd_attention"))

FIRST = "bhikc,bhijc->bhikj"  # query or gradient with what (i, j) has
SECOND = "bhikc,bhjkc->bhikj"  # and with what (j, k) has


@chapter.reference("npu::npu_fused_floyd_attention")
def fused_floyd_attention(
    query_ik: Tensor,
    key_ij: Tensor,
    value_ij: Tensor,
    key_jk: Tensor,
    value_jk: Tensor,
    atten_mask: Tensor | None = None,
    scale_value: float = 1.0,
) -> tuple[Tensor, Tensor, Tensor]:
    """Maximum and sum of each row [B, H, N, M, 8], and attention [B, H, N, M, D]."""
    scores = _scores(query_ik, key_ij, key_jk, atten_mask, scale_value)
    maximum = scores.amax(-1, keepdim=True).clamp_min(torch.finfo(torch.float32).min)
    weights = (scores - maximum).exp()
    total = weights.sum(-1, keepdim=True)
    weights = weights / total
    out = torch.einsum("bhikj,bhijc->bhikc", weights, value_ij.float())
    out = out + torch.einsum("bhikj,bhjkc->bhikc", weights, value_jk.float())
    copies = (-1, -1, -1, -1, STATISTIC_COPIES)
    stats = [statistic.expand(copies).contiguous() for statistic in (maximum, total)]
    return stats[0], stats[1], out.to(query_ik.dtype)


@chapter.reference("npu::npu_fused_floyd_attention_backward")
def fused_floyd_attention_backward(
    grad_output: Tensor,
    query_ik: Tensor,
    key_ij: Tensor,
    value_ij: Tensor,
    key_jk: Tensor,
    value_jk: Tensor,
    attention_out: Tensor,
    softmax_max: Tensor,
    softmax_sum: Tensor,
    atten_mask: Tensor | None = None,
    scale_value: float = 1.0,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Gradients of the query, of the first key and value, and of the second ones."""
    grad = grad_output.float()
    scores = _scores(query_ik, key_ij, key_jk, atten_mask, scale_value)
    weights = (scores - softmax_max[..., :1]).exp() / softmax_sum[..., :1]
    delta = (grad * attention_out.float()).sum(-1, keepdim=True)
    grad_weights = torch.einsum(FIRST, grad, value_ij.float())
    grad_weights = grad_weights + torch.einsum(SECOND, grad, value_jk.float())
    grad_scores = weights * (grad_weights - delta) * scale_value
    query = query_ik.float()
    grad_query = torch.einsum("bhikj,bhijc->bhikc", grad_scores, key_ij.float())
    grad_query = grad_query + torch.einsum("bhikj,bhjkc->bhikc", grad_scores, key_jk.float())
    return (
        grad_query.to(query_ik.dtype),
        torch.einsum("bhikj,bhikc->bhijc", grad_scores, query).to(key_ij.dtype),
        torch.einsum("bhikj,bhikc->bhijc", weights, grad).to(value_ij.dtype),
        torch.einsum("bhikj,bhikc->bhjkc", grad_scores, query).to(key_jk.dtype),
        torch.einsum("bhikj,bhikc->bhjkc", weights, grad).to(value_jk.dtype),
    )


@chapter.gradient("npu::npu_fused_floyd_attention")
def fused_floyd_attention_gradient(
    arguments: tuple[object, ...],
    outputs: tuple[Tensor, Tensor, Tensor],
    grads: tuple[Tensor | None, ...],
) -> tuple[Tensor | None, ...]:
    """What autograd runs: the backward operator."""
    if grads[2] is None:
        return (None,) * len(arguments)
    maximum, total, out = outputs
    found = fused_floyd_attention_backward(
        grads[2], *arguments[:5], out, maximum, total, *arguments[5:]
    )
    return (*found, None, None)


def _scores(
    query: Tensor, first: Tensor, second: Tensor, mask: Tensor | None, scale: float
) -> Tensor:
    scores = torch.einsum(FIRST, query.float(), first.float())
    scores = (scores + torch.einsum(SECOND, query.float(), second.float())) * scale
    return scores if mask is None else scores.masked_fill(mask.bool(), -torch.inf)
