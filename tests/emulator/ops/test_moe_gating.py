"""The choice of experts against plain loops and autograd."""

import pytest
import torch
from torch import Tensor

from cordee.core.errors import NotEmulated
from cordee.emulator.ops import moe as moe
from cordee.emulator.ops.reference import REFERENCES


def run(name: str, *arguments: object, **options: object) -> tuple[Tensor, ...]:
    found = REFERENCES[f"npu::{name}"].function(*arguments, **options)
    assert isinstance(found, tuple)
    return found


def test_softmax_gating_takes_the_k_largest_probabilities() -> None:
    x = torch.randn(6, 10)
    weight, expert, out = run("npu_moe_gating_top_k", x, 3, out_flag=True)
    probability = torch.softmax(x, -1)
    torch.testing.assert_close((weight, expert.long()), tuple(probability.topk(3, -1)))
    torch.testing.assert_close(out, probability)
    assert expert.dtype == torch.int32


def test_sigmoid_gating_normalises_the_chosen_weights_and_lets_the_bias_only_choose() -> None:
    x, bias = torch.randn(5, 8), torch.randn(8)
    weight, expert, _ = run(
        "npu_moe_gating_top_k", x, 2, bias=bias, norm_type=1, routed_scaling_factor=2.5
    )
    for token in range(5):
        score = torch.sigmoid(x[token])
        best = sorted(range(8), key=lambda e: -(score[e] + bias[e]).item())[:2]
        assert expert[token].tolist() == best
        torch.testing.assert_close(weight[token], 2.5 * score[best] / score[best].sum())


@pytest.mark.parametrize("mode", [0, 1])
def test_experts_outside_the_best_groups_are_never_chosen(mode: int) -> None:
    x = torch.randn(7, 12)
    _, expert, _ = run(
        "npu_moe_gating_top_k",
        x,
        4,
        k_group=2,
        group_count=4,
        group_select_mode=mode,
        norm_type=1,
    )
    for token in range(7):
        groups = torch.sigmoid(x[token]).reshape(4, 3)
        value = groups.max(-1).values if mode == 0 else groups.topk(2).values.sum(-1)
        best = set(value.topk(2).indices.tolist())
        assert {e // 3 for e in expert[token].tolist()} <= best
        allowed = sorted(
            (e for e in range(12) if e // 3 in best), key=lambda e: -x[token, e].item()
        )
        assert expert[token].tolist() == allowed[:4]


def test_a_table_of_experts_for_each_word_replaces_the_choice() -> None:
    x, table = torch.randn(3, 6), torch.tensor([[0, 1], [4, 5], [2, 3]], dtype=torch.int32)
    words = torch.tensor([2, 0, 1])
    weight, expert, _ = run("npu_moe_gating_top_k", x, 2, input_ids=words, tid2eid=table)
    assert expert.tolist() == [[2, 3], [0, 1], [4, 5]]
    torch.testing.assert_close(weight, torch.softmax(x, -1).gather(1, expert.long()))


def test_renormalising_after_the_choice_is_refused_by_name() -> None:
    with pytest.raises(NotEmulated, match="npu_moe_gating_top_k: renorm=1"):
        run("npu_moe_gating_top_k", torch.randn(2, 4), 2, renorm=1)


@pytest.mark.parametrize("norm_type", [0, 1])
def test_gating_backward_is_the_derivative(norm_type: int) -> None:
    x = torch.randn(4, 9, requires_grad=True)
    options = {"norm_type": norm_type, "routed_scaling_factor": 1.7}
    weight, expert, score = run("npu_moe_gating_top_k", x, 3, out_flag=True, **options)
    grad = torch.randn(4, 3)
    (expected,) = torch.autograd.grad(weight, x, grad)
    function = REFERENCES["npu::npu_moe_gating_top_k_backward"].function
    torch.testing.assert_close(function(score, grad, expert, **options), expected)


@pytest.mark.parametrize("shape", [(5, 7), (2, 3, 7)])
def test_softmax_gating_numbers_rows_choice_by_choice(shape: tuple[int, ...]) -> None:
    x = torch.randn(shape)
    weight, expert, row = run("npu_moe_gating_top_k_softmax", x, None, 2)
    torch.testing.assert_close(
        (weight, expert.long()), tuple(torch.softmax(x, -1).topk(2, -1)), msg=str(shape)
    )
    tokens = x[..., 0].numel()
    assert row.reshape(-1, 2).tolist() == [[t, tokens + t] for t in range(tokens)]


def test_finished_tokens_go_to_the_expert_after_the_last() -> None:
    x, finished = torch.randn(3, 4), torch.tensor([False, True, False])
    for name in ("npu_moe_gating_top_k_softmax", "npu_moe_gating_top_k_softmax_v2"):
        expert = run(name, x, finished=finished, k=2)[1]
        assert expert[1].tolist() == [4, 4]
        assert int(expert[::2].max()) < 4


def test_the_second_softmax_gating_can_normalise_over_the_chosen_alone() -> None:
    x = torch.randn(3, 6).half()
    weight, expert, softmax = run("npu_moe_gating_top_k_softmax_v2", x, k=2, renorm=1)
    best, where = x.float().topk(2, -1)
    torch.testing.assert_close(weight, torch.softmax(best, -1).half())
    assert expert.tolist() == where.tolist()
    assert softmax.numel() == 0
    everything = run("npu_moe_gating_top_k_softmax_v2", x, k=2, output_softmax=True)[2]
    torch.testing.assert_close(everything, torch.softmax(x.float(), -1))


def test_more_choices_than_experts_are_an_error() -> None:
    with pytest.raises(RuntimeError, match=r"\[0, 4\]"):
        run("npu_moe_gating_top_k_softmax", torch.randn(2, 4), None, 5)
