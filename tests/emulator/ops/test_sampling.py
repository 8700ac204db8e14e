"""Filters on logits against sets of tokens worked out one by one, and draws against statistics."""

import math

import pytest
import torch
from torch import Tensor

from cordee.emulator.ops import sampling as sampling
from cordee.emulator.ops.reference import REFERENCES


def run(name: str, *arguments: object, **options: object) -> tuple[Tensor, ...]:
    found = REFERENCES[f"npu::{name}"].function(*arguments, **options)
    return found if isinstance(found, tuple) else (found,)


def nucleus(logits: Tensor, k: int | None, p: float | None) -> set[int]:
    """The tokens that top-k and top-p leave, found from the likeliest down."""
    best = torch.argsort(logits, descending=True).tolist()[:k]
    if p is None:
        return set(best)
    share = torch.softmax(logits[best].double(), -1)
    kept, total = [], 0.0
    for token, weight in zip(best, share.tolist(), strict=True):
        if kept and total >= p:
            break
        kept.append(token)
        total += weight
    return set(kept)


@pytest.mark.parametrize("k", [None, 3])
@pytest.mark.parametrize("p", [None, 0.6])
def test_only_the_likeliest_tokens_stay_finite(k: int | None, p: float | None) -> None:
    logits = torch.randn(8, 20)
    (found,) = run(
        "npu_top_k_top_p",
        logits,
        None if p is None else torch.full((8,), p),
        None if k is None else torch.full((8,), k, dtype=torch.int32),
    )
    for row in range(8):
        kept = set(found[row].isfinite().nonzero().flatten().tolist())
        assert kept == nucleus(logits[row], k, p)
        torch.testing.assert_close(found[row, list(kept)], logits[row, list(kept)])


def test_a_small_p_still_leaves_the_likeliest_token() -> None:
    logits = torch.randn(3, 9).half()
    (found,) = run("npu_top_k_top_p", logits, torch.zeros(3).half(), None)
    assert found.isfinite().sum(-1).tolist() == [1, 1, 1]
    assert torch.equal(found.argmax(-1), logits.argmax(-1))


def test_sampling_without_a_draw_takes_the_likeliest() -> None:
    logits = torch.randn(4, 30)
    token, filtered = run(
        "npu_top_k_top_p_sample",
        logits,
        torch.full((4,), 5, dtype=torch.int32),
        torch.full((4,), 0.7),
        is_need_logits=True,
        post_sample="None",
    )
    assert torch.equal(token, logits.argmax(-1))
    for row in range(4):
        kept = set(filtered[row].isfinite().nonzero().flatten().tolist())
        assert kept == nucleus(logits[row], 5, 0.7)


def test_exponential_draws_choose_by_the_smallest_quotient() -> None:
    logits, q = torch.randn(4, 10), torch.rand(4, 10) + 0.1
    token, _ = run(
        "npu_top_k_top_p_sample",
        logits,
        torch.full((4,), 4, dtype=torch.int32),
        torch.full((4,), 2.0),
        q=q,
    )
    for row in range(4):
        best = torch.argsort(logits[row], descending=True)[:4]
        weight = torch.softmax(logits[row][best], -1) / q[row, :4]
        assert token[row] == best[weight.argmax()]


def test_min_p_drops_what_is_far_less_likely_than_the_best() -> None:
    logits = torch.tensor([[0.5, 0.3, 0.15, 0.05]])
    _, filtered = run(
        "npu_top_k_top_p_sample",
        logits,
        torch.tensor([4], dtype=torch.int32),
        torch.tensor([1.0]),
        min_ps=torch.tensor([0.4]),
        is_need_logits=True,
        input_is_logits=False,
        post_sample="multiNomial",
    )
    torch.testing.assert_close(filtered, torch.tensor([[0.5, 0.3, 0.0, 0.0]]))


def test_multinomial_draws_follow_the_weights() -> None:
    torch.manual_seed(0)
    logits = torch.tensor([0.6, 0.3, 0.1]).log().expand(4000, 3)
    token, _ = run(
        "npu_top_k_top_p_sample",
        logits,
        torch.full((4000,), 3, dtype=torch.int32),
        torch.full((4000,), 1.0),
        post_sample="multiNomial",
    )
    share = torch.bincount(token, minlength=3) / 4000
    torch.testing.assert_close(share, torch.tensor([0.6, 0.3, 0.1]), atol=0.03, rtol=0)


def test_exponential_draws_have_their_mean_and_spread() -> None:
    torch.manual_seed(0)
    (drawn,) = run("npu_sim_exponential_", torch.empty(20000), 2.0)
    assert math.isclose(drawn.mean(), 0.5, rel_tol=0.03)
    assert math.isclose(drawn.std(), 0.5, rel_tol=0.05)
    assert not run("npu_sim_exponential_", torch.ones(3), math.inf)[0].any()
    with pytest.raises(RuntimeError, match="lambd > 0"):
        run("npu_sim_exponential_", torch.empty(3), 0.0)


def test_random_choice_takes_true_elements_and_marks_the_rows_it_filled() -> None:
    x = torch.tensor([[True, False], [True, True]])
    places, filled = run("npu_random_choice_with_mask", x, 5, 1, 0)
    assert places.tolist() == [[0, 0], [1, 0], [1, 1], [0, 0], [0, 0]]
    assert filled.tolist() == [True] * 3 + [False] * 2
    two, filled = run("npu_random_choice_with_mask", x, 2, 1, 0)
    assert all(x[tuple(place)] for place in two.tolist())
    assert filled.all()
