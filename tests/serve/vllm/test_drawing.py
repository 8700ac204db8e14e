"""The plug-in for vLLM chooses the tokens that our own engine chooses, by the same seeds and positions."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from cordee.serve.sampling import Sampling, choose
from cordee.serve.vllm.rows import Rows

SIZE = 3000
KINDS = {
    "plain": {"temperature": 0.8},
    "top_p": {"temperature": 1.3, "top_p": 0.9},
    "top_k": {"temperature": 1.0, "top_k": 40},
    "both": {"temperature": 0.7, "top_k": 300, "top_p": 0.8},
    "min_p": {"temperature": 1.0, "min_p": 0.02, "top_p": 0.97},
    "words": {"temperature": 1.0, "frequency_penalty": 0.3, "presence_penalty": -0.4},
    "all": {"temperature": 0.9, "repetition_penalty": 1.3, "presence_penalty": 0.5, "top_k": 50},
    "greedy": {"temperature": 0.0, "frequency_penalty": 0.5, "repetition_penalty": 1.1},
}


def wishes(kind: str, seed: int, said: int | None) -> SimpleNamespace:
    """As vLLM's SamplingParams has them."""
    plain = {
        "temperature": 1.0,
        "top_p": 1.0,
        "top_k": 0,
        "min_p": 0.0,
        "frequency_penalty": 0.0,
        "presence_penalty": 0.0,
        "repetition_penalty": 1.0,
    }
    extra = None if said is None else {"cordee_said": said}
    return SimpleNamespace(**plain | KINDS[kind], seed=seed, extra_args=extra)


def logits_at(ids: list[int]) -> np.ndarray:
    """What a model of nothing but its last tokens would say."""
    random = np.random.default_rng([7, *ids[-3:]])
    return (random.standard_normal(SIZE) * 3).astype(np.float32)


def ours(kind: str, seed: int, prompt: list[int], count: int) -> list[int]:
    output: list[int] = []
    while len(output) < count:
        logits = logits_at([*prompt, *output])
        sampling = Sampling(seed=seed, **KINDS[kind])  # type: ignore[arg-type]
        output.append(choose(logits, sampling, prompt, output, len(output)).id)
    return output


def theirs(rows: Rows, batch: dict[int, tuple[list[int], list[int]]], count: int) -> None:
    """vLLM goes on with its batch: prompts and outputs by their place in it."""
    for _ in range(count):
        logits = torch.zeros(max(batch) + 1, SIZE)
        for place, (prompt, output) in batch.items():
            logits[place] = torch.from_numpy(logits_at([*prompt, *output]))
        made = rows.apply(logits).argmax(1)
        for place, (_, output) in batch.items():
            output.append(int(made[place]))


@pytest.mark.parametrize("kind", KINDS)
def test_the_tokens_are_those_of_our_engine(kind: str) -> None:
    rows, batch = Rows(), {}
    for place in range(6):
        batch[place] = ([place, 5, 9], [])
        rows.add(place, wishes(kind, seed=100 + place, said=0), *batch[place])
    theirs(rows, batch, 40)
    for place, (prompt, output) in batch.items():
        assert output == ours(kind, 100 + place, prompt, 40)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("cut", [1, 13, 39])
def test_an_answer_is_continued_from_its_tokens_as_if_nothing_had_been(kind: str, cut: int) -> None:
    prompt, undisturbed = [3, 1, 4], ours(kind, 42, [3, 1, 4], 40)
    rows = Rows()
    batch: dict[int, tuple[list[int], list[int]]] = {0: ([*prompt, *undisturbed[:cut]], [])}
    rows.add(0, wishes(kind, seed=42, said=cut), *batch[0])
    theirs(rows, batch, 40 - cut)
    assert batch[0][1] == undisturbed[cut:]


def test_requests_that_move_in_the_batch_stay_themselves() -> None:
    rows = Rows()
    batch = {place: ([place], list[int]()) for place in range(4)}
    for place in batch:
        rows.add(place, wishes("both", seed=place, said=0), *batch[place])
    theirs(rows, batch, 5)
    rows.remove(3)
    rows.move(0, 1, swap=True)
    rows.move(2, 3, swap=False)
    batch = {1: batch[0], 0: batch[1], 3: batch[2]}
    theirs(rows, batch, 5)
    assert {place: output for place, (_, output) in batch.items()} == {
        1: ours("both", 0, [0], 10),
        0: ours("both", 1, [1], 10),
        3: ours("both", 2, [2], 10),
    }


def test_requests_of_others_are_left_to_vllm() -> None:
    rows, logits = Rows(), torch.randn(2, SIZE)
    rows.add(0, wishes("both", seed=1, said=None), [1], [])
    rows.add(1, wishes("both", seed=1, said=0), [1], [])
    before = logits.clone()
    after = rows.apply(logits)
    assert torch.equal(after[0], before[0])
    assert int(after[1].isfinite().sum()) == 1


def test_a_wrong_field_is_refused() -> None:
    with pytest.raises(ValueError, match="cordee_said is -1"):
        Rows().add(0, wishes("both", seed=1, said=-1), [1], [])
