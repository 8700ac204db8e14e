"""Which experts a token goes to: npu_moe_gating_top_k and its softmax forms.

The weights come from a softmax or a sigmoid over all experts; the best k experts are taken,
in DeepSeek-V3 (arXiv:2412.19437, section 2.1.2) only from the best groups of experts.
"""

import torch
from torch import Tensor

from cordee.core.errors import NotEmulated
from cordee.emulator.ops.contract import unwritten
from cordee.emulator.ops.demands import require
from cordee.emulator.ops.reference import Chapter
from cordee.emulator.ops.sources import page_of

chapter = Chapter(source=page_of("npu_moe_gating_top_k"))

SOFTMAX, SIGMOID = 0, 1


@chapter.reference("npu::npu_moe_gating_top_k")
def gating_top_k(
    x: Tensor,
    k: int,
    bias: Tensor | None = None,
    input_ids: Tensor | None = None,
    tid2eid: Tensor | None = None,
    k_group: int = 1,
    group_count: int = 1,
    group_select_mode: int = 0,
    renorm: int = 0,
    norm_type: int = 0,
    out_flag: bool = False,
    routed_scaling_factor: float = 1.0,
    eps: float = 1e-20,
) -> tuple[Tensor, Tensor, Tensor]:
    """Weights and experts [tokens, k] of each token, and the scores [tokens, experts]."""
    require(x.dim() == 2, "The x should be 2D")
    score = _scores(x, norm_type, renorm)
    if input_ids is not None and tid2eid is not None:
        chosen = tid2eid[input_ids.long()].long()
    else:
        # The bias steers the choice only; the weights are the scores without it.
        preference = score.detach() if bias is None else score.detach() + bias.float()
        preference = _only_best_groups(preference, group_count, k_group, group_select_mode)
        chosen = _best(preference, k)
    weight = score.gather(-1, chosen)
    if norm_type == SIGMOID:
        weight = weight / (weight.sum(-1, keepdim=True) + eps)
    weight = weight * routed_scaling_factor
    out = score.detach() if out_flag else unwritten(score.shape, torch.float32)
    return weight.to(x.dtype), chosen.int(), out


@chapter.reference("npu::npu_moe_gating_top_k_backward")
def gating_top_k_backward(
    x_norm: Tensor,
    grad_y: Tensor,
    expertIdx: Tensor,
    renorm: int = 0,
    norm_type: int = 0,
    routed_scaling_factor: float = 1.0,
    eps: float = 1e-20,
) -> Tensor:
    """Gradient of the logits, from the scores `x_norm` that the forward gave as third result."""
    if renorm != 0:
        raise NotEmulated(f"npu_moe_gating_top_k_backward: renorm={renorm} is not emulated")
    score = x_norm.float()
    chosen = expertIdx.long()
    grad = grad_y.float() * routed_scaling_factor
    if norm_type == SIGMOID:
        weight = score.gather(-1, chosen)
        total = weight.sum(-1, keepdim=True) + eps
        grad = (grad - (grad * weight).sum(-1, keepdim=True) / total) / total
    grad_score = torch.zeros_like(score).scatter_add(-1, chosen, grad)
    if norm_type == SIGMOID:
        grad_x = grad_score * score * (1 - score)
    else:
        grad_x = score * (grad_score - (grad_score * score).sum(-1, keepdim=True))
    return grad_x.to(grad_y.dtype)


@chapter.reference(
    "npu::npu_moe_gating_top_k_softmax", source=page_of("npu_moe_gating_top_k_softmax")
)
def gating_top_k_softmax(
    x: Tensor, finished: Tensor | None = None, k: int = 1
) -> tuple[Tensor, Tensor, Tensor]:
    """Weights, experts and row numbers [..., k] of each token."""
    _check_rows(x, finished, k)
    # The softmax is rounded to the type of `x` before the choice, so ties are those of `x.dtype`.
    score = torch.softmax(x.float(), -1).to(x.dtype)
    chosen = _best(score.detach(), k)
    rows = x.shape[:-1].numel()
    row = torch.arange(rows * k, dtype=torch.int32).reshape(k, rows).T
    return score.gather(-1, chosen), _expert(x, chosen, finished), row.reshape(chosen.shape).clone()


@chapter.reference("npu::npu_moe_gating_top_k_softmax_v2")
def gating_top_k_softmax_v2(
    x: Tensor,
    k: int = 1,
    finished: Tensor | None = None,
    renorm: int | None = 0,
    output_softmax: bool | None = False,
) -> tuple[Tensor, Tensor, Tensor]:
    """Weights and experts [..., k] of each token, and the softmax, if asked for."""
    _check_rows(x, finished, k)
    score = torch.softmax(x.float(), -1)
    if renorm == 1:
        chosen = _best(x.detach(), k)
        weight = torch.softmax(x.float().gather(-1, chosen), -1)
    else:
        chosen = _best(score.detach(), k)
        weight = score.gather(-1, chosen)
    softmax = score.detach() if output_softmax and renorm != 1 else torch.empty(0)
    return weight.to(x.dtype), _expert(x, chosen, finished), softmax


def _check_rows(x: Tensor, finished: Tensor | None, k: int) -> None:
    require(x.dim() in (2, 3), "The x should be 2D or 3D")
    require(0 <= k <= x.shape[-1], f"The k should be in [0, {x.shape[-1]}]")
    require(
        finished is None or finished.shape == x.shape[:-1],
        "finished should have one element for each row of x",
    )


def _scores(x: Tensor, norm_type: int, renorm: int) -> Tensor:
    if renorm != 0:
        raise NotEmulated(f"npu_moe_gating_top_k: renorm={renorm} is not emulated")
    if norm_type == SOFTMAX:
        return torch.softmax(x.float(), -1)
    if norm_type == SIGMOID:
        return torch.sigmoid(x.float())
    raise NotEmulated(f"npu_moe_gating_top_k: norm_type={norm_type} is not emulated")


def _best(score: Tensor, k: int) -> Tensor:
    """Indices of the k largest scores; among equal ones the first comes first."""
    return torch.sort(score, dim=-1, descending=True, stable=True).indices[..., :k]


def _only_best_groups(score: Tensor, count: int, keep: int, mode: int) -> Tensor:
    """`score` with -inf in every group of experts but the best `keep` of `count`."""
    if count <= 1:
        return score
    grouped = score.reshape(*score.shape[:-1], count, -1)
    value = grouped.amax(-1) if mode == 0 else grouped.topk(2, -1).values.sum(-1)
    kept = torch.zeros_like(value, dtype=torch.bool).scatter_(-1, _best(value, keep), True)
    return grouped.masked_fill(~kept.unsqueeze(-1), -torch.inf).flatten(-2)


def _expert(x: Tensor, chosen: Tensor, finished: Tensor | None) -> Tensor:
    """`chosen` as int32; finished tokens go to the expert after the last."""
    if finished is not None:
        chosen = chosen.masked_fill(finished.unsqueeze(-1), x.shape[-1])
    return chosen.int()
