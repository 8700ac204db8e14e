"""Does a choice follow its distribution and its filters, and nothing but its arguments?"""

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cordee.serve.randomness import uniform
from cordee.serve.sampling import Sampling, choose

LOGITS = np.array([1.0, 3.0, 2.0, 3.0, -1.0, 0.0], np.float32)
DRAWS = 20_000


def shares(sampling: Sampling, logits: np.ndarray = LOGITS) -> dict[int, float]:
    drawn = Counter(choose(logits, sampling, [], [], position).id for position in range(DRAWS))
    return {token: count / DRAWS for token, count in drawn.items()}


def softmax(logits: np.ndarray) -> np.ndarray:
    odds = np.exp(logits.astype(np.float64) - logits.max())
    return odds / odds.sum()


def test_random_numbers_are_even_and_known() -> None:
    numbers = np.array([uniform(7, position) for position in range(DRAWS)])
    counts = np.histogram(numbers, 20, (0, 1))[0]
    assert abs(counts - DRAWS / 20).max() < 5 * math.sqrt(DRAWS / 20)
    assert abs(np.corrcoef(numbers[:-1], numbers[1:])[0, 1]) < 0.03
    assert uniform(7, 3) == uniform(7, 3) != uniform(8, 3)
    assert uniform(0, 0) == 0.6524484863740322  # others may rely on these numbers: keep them


@given(st.integers(-(2**63), 2**64), st.integers(0, 10**6))
def test_a_random_number_lies_between_zero_and_one(seed: int, position: int) -> None:
    assert 0 <= uniform(seed, position) < 1


def test_temperature_zero_takes_the_largest_and_of_equals_the_first() -> None:
    assert choose(LOGITS, Sampling(temperature=0), [], [], 0).id == 1


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_draws_follow_the_distribution(temperature: float) -> None:
    found, expected = shares(Sampling(temperature=temperature)), softmax(LOGITS / temperature)
    for token, share in enumerate(expected):
        assert found.get(token, 0) == pytest.approx(share, abs=0.015)


@pytest.mark.parametrize(
    ("sampling", "allowed"),
    [
        (Sampling(top_k=1), {1}),
        (Sampling(top_k=3), {1, 3, 2}),
        (Sampling(top_p=0.5), {1, 3}),
        (Sampling(top_p=0.01), {1}),
        (Sampling(min_p=0.3), {1, 2, 3}),
        (Sampling(top_k=3, top_p=0.9, min_p=0.5), {1, 3}),
        (Sampling(logit_bias={4: 100.0}), {4}),
        (Sampling(logit_bias={1: -100.0, 3: -100.0, 2: -100.0, 99: 5.0}), {0, 4, 5}),
    ],
)
def test_filters_leave_what_they_should(sampling: Sampling, allowed: set[int]) -> None:
    assert set(shares(sampling)) == allowed


@given(
    st.integers(0, 2**32),
    st.floats(0.05, 1.0),
    st.integers(0, 2000),
    st.floats(0.2, 3.0),
    st.integers(0, 50),
)
def test_top_p_looks_as_far_as_a_whole_sort_would(
    seed: int, top_p: float, top_k: int, temperature: float, position: int
) -> None:
    logits = np.random.default_rng(seed).standard_normal(3000).astype(np.float32)
    sampling = Sampling(top_p=top_p, top_k=top_k, temperature=temperature, seed=seed)
    order = np.argsort(-logits, kind="stable")[: top_k or None]
    odds = softmax(logits[order] / np.float32(temperature))
    kept = order[: int(np.searchsorted(np.cumsum(odds), top_p - 1e-9)) + 2]
    assert choose(logits, sampling, [], [], position).id in kept


def test_a_grammar_allows_only_its_tokens() -> None:
    mask = np.array([True, False, False, False, True, False])
    for temperature in (0.0, 1.0):
        tokens = {
            choose(LOGITS, Sampling(temperature=temperature), [], [], p, mask).id for p in range(99)
        }
        assert tokens <= {0, 4}


def test_penalties_push_away_what_was_said() -> None:
    greedy = {"temperature": 0.0}
    assert choose(LOGITS, Sampling(**greedy, presence_penalty=2.0), [], [1], 1).id == 3
    assert choose(LOGITS, Sampling(**greedy, frequency_penalty=0.6), [], [1, 3, 3], 3).id == 1
    assert choose(LOGITS, Sampling(**greedy, presence_penalty=2.0), [1], [], 0).id == 1
    assert choose(LOGITS, Sampling(**greedy, repetition_penalty=2.0), [1], [3], 1).id == 2


def test_logarithms_are_those_of_the_models_own_distribution() -> None:
    sampling = Sampling(temperature=0.0, presence_penalty=5.0, logprobs=3)
    token = choose(LOGITS, sampling, [], [1, 3], 2)
    expected = np.log(softmax(LOGITS))
    assert token.id == 2
    assert token.logprob == pytest.approx(expected[2])
    assert [i for i, _ in token.top] == [1, 3, 2]
    assert [p for _, p in token.top] == pytest.approx(expected[[1, 3, 2]])
