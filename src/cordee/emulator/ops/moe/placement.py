"""Where experts live and how many tokens each gets, for experts spread over chips."""

import torch
from torch import Tensor

from cordee.emulator.ops.contract import refuse, unwritten
from cordee.emulator.ops.reference import Chapter
from cordee.emulator.ops.sources import page_of

chapter = Chapter(source=page_of("npu_moe_re_routing"))


@chapter.reference("npu::npu_moe_re_routing")
def re_routing(
    tokens: Tensor,
    expert_token_num_per_rank: Tensor,
    per_token_scales: Tensor | None = None,
    expert_token_num_type: int = 1,
    idx_type: int = 0,
    tokens_dtype: int | None = None,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Tokens [count, hidden] that came sorted by (rank, expert), sorted by (expert, rank).

    Gives them, their scales, each one's place in `tokens`, and the count of each expert [experts].
    """
    refuse("npu_moe_re_routing", tokens_dtype=tokens_dtype)
    refuse("npu_moe_re_routing", expert_token_num_type=expert_token_num_type != 1)
    refuse("npu_moe_re_routing", idx_type=idx_type != 0)
    counts = expert_token_num_per_rank.long()
    ranks, experts = counts.shape
    expert = torch.arange(experts).repeat(ranks).repeat_interleave(counts.flatten())
    # Counts that name more tokens than there are leave the rest of them out.
    source = torch.argsort(expert[: tokens.shape[0]], stable=True)
    moved = unwritten(tokens.shape, tokens.dtype)
    moved[: len(source)] = tokens[source]
    index = unwritten((tokens.shape[0],), torch.int32)
    index[: len(source)] = source.int()
    if per_token_scales is None:
        scales = unwritten((tokens.shape[0],), torch.float32)
    else:
        scales = unwritten(per_token_scales.shape, per_token_scales.dtype)
        scales[: len(source)] = per_token_scales[source]
    return moved, scales, index, counts.sum(0).to(expert_token_num_per_rank.dtype)


@chapter.reference("npu::npu_moe_update_expert", source=page_of("npu_moe_update_expert"))
def update_expert(
    expert_ids: Tensor,
    eplb_table: Tensor,
    expert_scales: Tensor | None = None,
    pruning_threshold: Tensor | None = None,
    active_mask: Tensor | None = None,
    local_rank_id: int = -1,
    world_size: int = -1,
    balance_mode: int = 0,
) -> tuple[Tensor, Tensor]:
    """Physical experts [tokens, k] of the logical ones, and which of them are worth sending to.

    A row of `eplb_table` is the number of copies of one logical expert, then their places.
    """
    row = eplb_table.long()[expert_ids.long()]  # [tokens, k, 1 + copies]
    copies = row[..., 0]
    if balance_mode == 0:
        ranks_per_copy = -(-world_size // copies)
        copy = local_rank_id // ranks_per_copy
    else:
        copy = torch.arange(expert_ids.shape[0]).unsqueeze(-1) % copies
    placed = row.gather(-1, copy.unsqueeze(-1) + 1).squeeze(-1)
    if expert_scales is None or pruning_threshold is None:
        return placed.to(expert_ids.dtype), unwritten(expert_ids.shape, torch.bool)
    scales = expert_scales.float()
    kept = scales >= scales.sum(-1, keepdim=True) * pruning_threshold.float().reshape(1, -1)
    if active_mask is not None:
        kept = kept & active_mask.reshape(-1, 1)
    return placed.to(expert_ids.dtype), kept


@chapter.reference(
    "npu::npu_moe_compute_expert_tokens", source=page_of("npu_moe_compute_expert_tokens")
)
def compute_expert_tokens(sorted_expert_for_source_row: Tensor, num_expert: int) -> Tensor:
    """How many rows belong to expert i or one before it, for every i [num_expert]."""
    experts = torch.arange(num_expert, dtype=sorted_expert_for_source_row.dtype)
    ends = torch.searchsorted(sorted_expert_for_source_row, experts, right=True)
    return ends.to(sorted_expert_for_source_row.dtype)
