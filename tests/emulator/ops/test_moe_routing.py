"""Moving tokens to experts and back, against loops over tokens and autograd."""

import math

import pytest
import torch
from torch import Tensor

from cordee.emulator.ops import moe as moe
from cordee.emulator.ops.reference import REFERENCES


def run(name: str, *arguments: object, **options: object) -> tuple[Tensor, ...]:
    found = REFERENCES[f"npu::{name}"].function(*arguments, **options)
    return found if isinstance(found, tuple) else (found,)


def in_expert_order(experts: list[list[int]], wanted: range) -> list[tuple[int, int]]:
    """(expert, slot) of every slot whose expert is wanted, as a stable sort gives them."""
    k = len(experts[0])
    slots = [(e, t * k + c) for t, row in enumerate(experts) for c, e in enumerate(row)]
    return sorted((e, slot) for e, slot in slots if e in wanted)


def test_init_routing_copies_rows_in_expert_order() -> None:
    x = torch.randn(4, 3)
    experts = torch.tensor([[2, 0], [1, 2], [0, 1], [2, 1]], dtype=torch.int32)
    rows = torch.arange(8, dtype=torch.int32).reshape(2, 4).T.contiguous()
    expanded, place, order = run("npu_moe_init_routing", x, rows, experts, 4)
    assert order.tolist() == sorted(experts.flatten().tolist())
    for row in range(8):
        torch.testing.assert_close(expanded[place[row]], x[row % 4])
        assert order[place[row]] == experts[row % 4, row // 4]


def test_init_routing_keeps_only_the_active_rows() -> None:
    experts = torch.zeros(5, 2, dtype=torch.int32)
    rows = torch.arange(10, dtype=torch.int32).reshape(2, 5).T.contiguous()
    assert run("npu_moe_init_routing", torch.randn(5, 3), rows, experts, 2)[0].shape == (4, 3)


@pytest.mark.parametrize("wanted", [(0, 6), (2, 5)])
@pytest.mark.parametrize("row_type", [0, 1])
def test_the_second_init_routing_places_the_slots_of_its_experts(
    wanted: tuple[int, int], row_type: int
) -> None:
    x, experts = torch.randn(5, 4), torch.randint(0, 6, (5, 3), dtype=torch.int32)
    expanded, index, counts, _ = run(
        "npu_moe_init_routing_v2",
        x,
        experts,
        expert_num=6,
        expert_tokens_num_type=1,
        expert_tokens_num_flag=True,
        active_expert_range=wanted,
        row_idx_type=row_type,
    )
    order = in_expert_order(experts.tolist(), range(*wanted))
    assert expanded.shape == (15, 4)
    for row, (_, slot) in enumerate(order):
        torch.testing.assert_close(expanded[row], x[slot // 3])
        assert index[row] == slot if row_type == 1 else index[slot] == row
    if row_type == 0:
        assert (index >= 0).sum() == len(order)
    assert counts.tolist() == [sum(e == n for e, _ in order) for n in range(*wanted)]


def test_token_counts_come_added_up_or_as_pairs() -> None:
    experts = torch.tensor([[3, 1], [3, 0]], dtype=torch.int32)
    options = {"expert_num": 4, "expert_tokens_num_flag": True}
    run_v2 = ("npu_moe_init_routing_v2", torch.randn(2, 2), experts)
    added_up = run(*run_v2, expert_tokens_num_type=0, **options)[2]
    assert added_up.tolist() == [1, 2, 2, 4]
    pairs = run(*run_v2, expert_tokens_num_type=2, **options)[2]
    assert pairs.tolist() == [[0, 1], [1, 1], [3, 2], [0, 0]]


def test_an_experts_capacity_drops_what_comes_after() -> None:
    x = torch.randn(4, 2)
    experts = torch.tensor([[1], [1], [0], [1]], dtype=torch.int32)
    expanded, index, counts, _ = run(
        "npu_moe_init_routing_v2",
        x,
        experts,
        expert_num=3,
        expert_capacity=2,
        drop_pad_mode=1,
        expert_tokens_num_type=1,
        expert_tokens_num_flag=True,
    )
    nothing = torch.zeros(2)
    wanted = [[x[2], nothing], [x[0], x[1]], [nothing, nothing]]
    torch.testing.assert_close(expanded, torch.stack([torch.stack(rows) for rows in wanted]))
    assert index.tolist() == [2, 3, 0, -1]
    assert counts.tolist() == [1, 3, 0]


def test_dynamic_quantisation_makes_each_rows_largest_value_127() -> None:
    x = torch.randn(6, 16)
    experts = torch.randint(0, 4, (6, 2), dtype=torch.int32)
    smooth = torch.rand(4, 16) + 0.5
    expanded, _, _, scale = run(
        "npu_moe_init_routing_v2", x, experts, scale=smooth, expert_num=4, quant_mode=1
    )
    for row, (expert, slot) in enumerate(in_expert_order(experts.tolist(), range(4))):
        value = x[slot // 2] * smooth[expert]
        assert math.isclose(scale[row], value.abs().max() / 127, rel_tol=1e-6)
        torch.testing.assert_close(expanded[row].float() * scale[row], value, atol=0.02, rtol=0)
    assert expanded.dtype == torch.int8


def test_a_batch_of_no_tokens_is_routed_to_nobody() -> None:
    expanded, index, counts, scale = run(
        "npu_moe_init_routing_v2",
        torch.zeros(0, 16),
        torch.zeros(0, 2, dtype=torch.int32),
        scale=torch.zeros(0),
        expert_num=4,
        expert_tokens_num_flag=True,
        expert_tokens_num_type=1,
        active_expert_range=[0, 4],
        quant_mode=1,
    )
    assert [expanded.numel(), index.numel(), scale.numel()] == [0, 0, 0]
    assert counts.tolist() == [0, 0, 0, 0]


def test_static_quantisation_scales_shifts_and_saturates() -> None:
    x = torch.tensor([[0.2, -3.0, 900.0]])
    expanded, index, counts, before, scale = run(
        "npu_moe_init_routing_quant",
        x,
        torch.zeros(1, 1, dtype=torch.int32),
        scale=torch.tensor([10.0]),
        offset=torch.tensor([1.0]),
        active_num=0,
        expert_num=2,
        expert_tokens_num_mode=2,
        quant_mode=0,
    )
    assert expanded.tolist() == [[3, -29, 127]]
    assert index.tolist() == [0]
    assert counts.tolist() == [1, 0]
    assert before is None
    assert scale is None


@pytest.mark.parametrize("mode", [0, 1, 2, 3])
def test_finalize_routing_adds_up_the_weighted_answers(mode: int) -> None:
    tokens, k, hidden = 5, 2, 3
    answers = torch.randn(tokens * k, hidden)
    if mode in (1, 3):
        answers = answers.reshape(2, tokens, hidden)
    skip1, skip2 = torch.randn(tokens, hidden), torch.randn(tokens, hidden)
    bias, weights = torch.randn(4, hidden), torch.rand(tokens, k)
    experts = torch.randint(0, 4, (tokens, k), dtype=torch.int32)
    place = torch.randperm(tokens * k).int()
    if mode in (1, 3):
        place[3] = -1
    (found,) = run(
        "npu_moe_finalize_routing", answers, skip1, skip2, bias, weights, place, experts, mode
    )
    flat = answers.reshape(-1, hidden)
    for token in range(tokens):
        expected = skip1[token] + skip2[token]
        for choice in range(k):
            at = int(place[token * k + choice if mode >= 2 else choice * tokens + token])
            answer = flat[at] if at >= 0 else torch.zeros(hidden)
            expected = expected + weights[token, choice] * (answer + bias[experts[token, choice]])
        torch.testing.assert_close(found[token], expected)


def test_routing_there_and_back_is_the_mixture_of_experts() -> None:
    x, experts = torch.randn(6, 4), torch.randint(0, 3, (6, 2), dtype=torch.int32)
    matrices, weights = torch.randn(3, 4, 4), torch.rand(6, 2)
    expanded, index, counts, _ = run(
        "npu_moe_init_routing_v2",
        x,
        experts,
        expert_num=3,
        expert_tokens_num_type=1,
        expert_tokens_num_flag=True,
    )
    answers = torch.cat(
        [
            part @ matrix
            for part, matrix in zip(expanded.split(counts.tolist()), matrices, strict=True)
        ]
    )
    (found,) = run(
        "npu_moe_finalize_routing", answers, None, None, None, weights, index, experts, 2
    )
    for token in range(6):
        expected = sum(
            weights[token, choice] * (x[token] @ matrices[experts[token, choice]])
            for choice in range(2)
        )
        torch.testing.assert_close(found[token], expected)


def test_compute_expert_tokens_gives_where_each_experts_rows_end() -> None:
    experts = torch.tensor([0, 0, 2, 2, 2, 5], dtype=torch.int32)
    (ends,) = run("npu_moe_compute_expert_tokens", experts, 6)
    assert ends.tolist() == [2, 2, 5, 5, 5, 6]
    assert ends.dtype == torch.int32


def test_re_routing_gathers_each_experts_tokens_from_all_ranks() -> None:
    counts = torch.tensor([[1, 2], [3, 1]])
    tokens, scales = torch.arange(7.0).unsqueeze(1), torch.arange(7.0)
    moved, moved_scales, index, totals = run(
        "npu_moe_re_routing", tokens, counts, per_token_scales=scales
    )
    # Rank 0 sent a, bb; rank 1 sent aaa, b.
    assert index.tolist() == [0, 3, 4, 5, 1, 2, 6]
    assert moved.flatten().tolist() == moved_scales.tolist() == index.tolist()
    assert totals.tolist() == [4, 3]


def test_update_expert_spreads_ranks_or_tokens_over_the_copies() -> None:
    table = torch.tensor([[2, 10, 11], [1, 20, 0]], dtype=torch.int32)
    experts = torch.tensor([[0, 1], [0, 0], [1, 0]], dtype=torch.int32)
    second_rank, _ = run(
        "npu_moe_update_expert", experts, table, local_rank_id=3, world_size=4, balance_mode=0
    )
    assert second_rank.tolist() == [[11, 20], [11, 11], [20, 11]]
    by_token, _ = run("npu_moe_update_expert", experts, table, balance_mode=1)
    assert by_token.tolist() == [[10, 20], [11, 11], [20, 10]]


def test_update_expert_prunes_small_weights_and_idle_tokens() -> None:
    kept = run(
        "npu_moe_update_expert",
        torch.zeros(2, 2, dtype=torch.int32),
        torch.tensor([[1, 0]], dtype=torch.int32),
        expert_scales=torch.tensor([[0.7, 0.3], [0.9, 0.1]]),
        pruning_threshold=torch.tensor([0.0, 0.2]),
        active_mask=torch.tensor([True, False]),
        balance_mode=1,
    )[1]
    assert kept.tolist() == [[True, True], [False, False]]
