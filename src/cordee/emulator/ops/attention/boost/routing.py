"""ATB's choice of experts: the best groups of experts, and the best experts in them.

The rule is that of DeepSeek-V3 (arXiv:2412.19437, section 2.1.2).
"""

from typing import Any

import torch
from torch import Tensor

from cordee.core.errors import NotEmulated
from cordee.emulator.ops.demands import require
from cordee.emulator.ops.reference import Chapter
from cordee.emulator.ops.sources import code_of

chapter = Chapter(source=code_of("atb/FusedAddDivAtb.cpp"))

SIGMOID = "activation_sigmoid"


@chapter.reference("atb::_npu_group_topk", source=code_of("atb/GroupTopkAtb.cpp"))
def group_topk(self: Tensor, k: int = 0, group_num: int = 1, n: int = 1) -> None:
    """Write zeros to all experts of `self` [tokens, experts] outside the `k` best groups."""
    self.copy_(_best_groups_only(self.float(), group_num, k, n))


@chapter.reference("atb::npu_fused_add_topk_div")
def fused_add_topk_div(
    x: Tensor,
    add_num: Tensor,
    *,
    mapping_num: Tensor | None = None,
    mapping_table: Tensor | None = None,
    activation_type: str | None = None,
    group_num: int = 1,
    group_topk: int = 1,
    n: int = 1,
    k: int = 1,
    is_norm: bool = True,
    scale: float = 1,
    enable_expert_mapping: bool = False,
) -> tuple[Tensor, Tensor]:
    """Weights and experts [tokens, k]; `add_num` steers the choice, and is in no weight.

    With the mapping an expert is one of its copies, the next one for each token.
    """
    require(
        activation_type in (None, SIGMOID),
        f"activation_type must be {SIGMOID}, but got {activation_type}",
    )
    if not is_norm and scale != 1:
        raise NotEmulated("npu_fused_add_topk_div: scale without is_norm is not emulated")
    score = x.float().sigmoid()
    preference = _best_groups_only(score + add_num.float(), group_num, group_topk, n)
    chosen = preference.sort(dim=-1, descending=True, stable=True).indices[:, :k]
    weight = score.gather(-1, chosen)
    if is_norm:
        weight = weight / weight.sum(-1, keepdim=True) * scale
    if enable_expert_mapping and mapping_num is not None and mapping_table is not None:
        token = torch.arange(len(x)).unsqueeze(1)
        copy = token % mapping_num[chosen].long().clamp_min(1)
        chosen = mapping_table[chosen, copy]
    return weight, chosen.int()


@chapter.reference("atb::npu_fused_add_topk_div.out")
def fused_add_topk_div_out(
    *values: Any, y: Tensor, indices: Tensor, **named: Any
) -> tuple[Tensor, Tensor]:
    """The same, written into `y` and `indices`."""
    weight, chosen = fused_add_topk_div(*values, **named)
    return y.copy_(weight), indices.copy_(chosen)


def _best_groups_only(score: Tensor, groups: int, kept: int, summed: int) -> Tensor:
    """`score` [tokens, experts] with zeros outside the `kept` groups of the largest sum.

    A group's sum is that of its `summed` largest scores; of equal ones the first is better.
    """
    by_group: Tensor = score.unflatten(-1, (groups, -1))
    total = by_group.topk(summed, dim=-1).values.sum(-1)
    worse = total.sort(dim=-1, descending=True, stable=True).indices[:, kept:]
    lost = torch.zeros_like(total, dtype=torch.bool).scatter(-1, worse, True)
    return by_group.masked_fill(lost.unsqueeze(-1), 0).flatten(-2)
