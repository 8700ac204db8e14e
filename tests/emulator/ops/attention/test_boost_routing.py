"""ATB's choice of experts against a loop over tokens."""

import pytest
import torch

from cordee.core.errors import NotEmulated
from cordee.emulator.ops.attention.boost.routing import (
    fused_add_topk_div,
    fused_add_topk_div_out,
    group_topk,
)

GROUPS, KEPT, SUMMED = 4, 2, 2


def best_groups(row: list[float]) -> list[int]:
    """Numbers of the experts in the best groups of one token."""
    size = len(row) // GROUPS
    groups = [list(range(g * size, (g + 1) * size)) for g in range(GROUPS)]
    groups.sort(key=lambda group: -sum(sorted((row[e] for e in group), reverse=True)[:SUMMED]))
    return [expert for group in groups[:KEPT] for expert in group]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_experts_outside_the_best_groups_become_zero(dtype: torch.dtype) -> None:
    score = torch.rand(5, 12).to(dtype) + 1
    given = score.clone()

    group_topk(score, KEPT, GROUPS, SUMMED)

    for row, before in zip(score, given, strict=True):
        kept = best_groups(before.tolist())
        expected = [x if e in kept else 0.0 for e, x in enumerate(before.tolist())]
        assert row.tolist() == expected


def test_the_bias_steers_the_choice_and_is_in_no_weight() -> None:
    x, bias = torch.randn(5, 12).half(), torch.rand(12).half()

    weight, chosen = fused_add_topk_div(
        x, bias, group_num=GROUPS, group_topk=KEPT, n=SUMMED, k=3, scale=2.5
    )

    assert weight.dtype == torch.float32
    assert chosen.dtype == torch.int32
    for token in range(5):
        score = x[token].float().sigmoid()
        preference = (score + bias.float()).tolist()
        best = sorted(best_groups(preference), key=lambda e: -preference[e])[:3]
        assert chosen[token].tolist() == best
        torch.testing.assert_close(weight[token], 2.5 * score[best] / score[best].sum())


def test_an_expert_has_copies_that_take_turns() -> None:
    x, bias = torch.randn(4, 6), torch.zeros(6)
    copies, table = torch.tensor([1, 2, 3, 1, 2, 3]), torch.arange(18, dtype=torch.int32).view(6, 3)
    weight, indices = torch.zeros(4, 2), torch.zeros(4, 2, dtype=torch.int32)

    plain, chosen = fused_add_topk_div(x, bias, k=2, is_norm=False)
    fused_add_topk_div_out(
        x, bias, mapping_num=copies, mapping_table=table, k=2, is_norm=False,
        enable_expert_mapping=True, y=weight, indices=indices,
    )  # fmt: skip

    torch.testing.assert_close(weight, plain)
    torch.testing.assert_close(plain, x.sigmoid().gather(1, chosen.long()))
    for token in range(4):
        for place, expert in enumerate(chosen[token].tolist()):
            assert indices[token, place] == table[expert, token % int(copies[expert])]


def test_what_is_not_known_is_refused() -> None:
    with pytest.raises(RuntimeError, match="activation_type"):
        fused_add_topk_div(torch.ones(1, 2), torch.ones(2), activation_type="softmax")
    with pytest.raises(NotEmulated, match="scale"):
        fused_add_topk_div(torch.ones(1, 2), torch.ones(2), is_norm=False, scale=2.0)
