"""From logits to the next token: penalties, filters, and one counter-based random number."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from cordee.serve.randomness import uniform

FIRST_CANDIDATES = 256
"""How many of the likeliest tokens top_p looks at first; more where they do not suffice."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How a request wants its tokens chosen."""

    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    """Only so many of the likeliest; 0: all."""
    min_p: float = 0.0
    """Only those at least so likely, relative to the likeliest."""
    seed: int = 0
    frequency_penalty: float = 0.0
    presence_penalty: float = 0.0
    repetition_penalty: float = 1.0
    logit_bias: Mapping[int, float] = field(default_factory=dict)
    logprobs: int | None = None
    """How many of the likeliest tokens are told with each; None: no logarithms at all."""

    @property
    def changes_logits(self) -> bool:
        """Whether the choice is made from other logits than the model's own."""
        return bool(
            self.frequency_penalty
            or self.presence_penalty
            or self.repetition_penalty != 1.0
            or self.logit_bias
        )


@dataclass(frozen=True, slots=True)
class Token:
    """A token and, where asked for, how likely the model's own distribution has it and the likeliest."""

    id: int
    logprob: float = math.nan
    top: tuple[tuple[int, float], ...] = ()


def choose(
    logits: NDArray[np.float32],
    sampling: Sampling,
    prompt_ids: Sequence[int],
    output_ids: Sequence[int],
    position: int,
    mask: NDArray[np.bool_] | None = None,
) -> Token:
    """Choose the token at `position` of an answer from its logits [vocabulary].

    `mask` says which tokens a grammar allows. Temperature 0 takes the largest logit, of equals the one
    with the lowest id. The same arguments give the same token, whatever else runs.
    """
    scores = logits
    if mask is not None or sampling.changes_logits:
        scores = _changed(logits, sampling, prompt_ids, output_ids, mask)
    if sampling.temperature == 0:
        chosen = int(scores.argmax())
    else:
        chosen = _drawn(scores, sampling, uniform(sampling.seed, position))
    if sampling.logprobs is None:
        return Token(chosen)
    return described(logits, chosen, sampling.logprobs)


def described(logits: NDArray[np.float32], chosen: int, count: int) -> Token:
    """A given token with its logarithm and the `count` likeliest, by the model's own distribution."""
    largest = float(logits.max())
    total = largest + math.log(float(np.exp(logits - largest, dtype=np.float64).sum()))
    top = tuple((int(i), float(logits[i]) - total) for i in _likeliest(logits, count))
    return Token(chosen, float(logits[chosen]) - total, top)


def _changed(
    logits: NDArray[np.float32],
    sampling: Sampling,
    prompt_ids: Sequence[int],
    output_ids: Sequence[int],
    mask: NDArray[np.bool_] | None,
) -> NDArray[np.float32]:
    scores = logits.copy()
    if sampling.repetition_penalty != 1.0:
        seen = np.unique(np.array([*prompt_ids, *output_ids], np.int64))
        found = scores[seen]
        weaker, stronger = found / sampling.repetition_penalty, found * sampling.repetition_penalty
        scores[seen] = np.where(found > 0, weaker, stronger)
    if output_ids and (sampling.frequency_penalty or sampling.presence_penalty):
        said, counts = np.unique(np.array(output_ids, np.int64), return_counts=True)
        scores[said] -= (sampling.frequency_penalty * counts + sampling.presence_penalty).astype(
            np.float32
        )
    for token, bias in sampling.logit_bias.items():
        if token < scores.size:
            scores[token] += bias
    if mask is not None:
        scores[~mask[: scores.size]] = -np.inf
    return scores


def _drawn(scores: NDArray[np.float32], sampling: Sampling, number: float) -> int:
    scaled = (scores - scores.max()).astype(np.float64) / sampling.temperature
    weights = np.exp(scaled)
    if sampling.min_p > 0:
        weights[weights < sampling.min_p] = 0.0
    if sampling.top_k <= 0 and sampling.top_p >= 1:
        return _at(weights, number)
    order = _likeliest(weights, sampling.top_k or min(FIRST_CANDIDATES, weights.size))
    if sampling.top_p < 1:
        total = float(weights[order].sum() if sampling.top_k > 0 else weights.sum())
        while True:
            sums = np.cumsum(weights[order])
            if sums[-1] >= sampling.top_p * total or len(order) == weights.size:
                break
            order = _likeliest(weights, min(8 * len(order), weights.size))
        order = order[: int(np.searchsorted(sums, sampling.top_p * total)) + 1]
    return int(order[_at(weights[order], number)])


def _at(weights: NDArray[np.float64], number: float) -> int:
    """The index where the running sum of the weights passes this share of the whole."""
    sums = np.cumsum(weights)
    index = int(np.searchsorted(sums, number * sums[-1], side="right"))
    return min(index, int(np.flatnonzero(weights)[-1]) if index >= weights.size else index)


def _likeliest(values: NDArray[np.floating], count: int) -> NDArray[np.int64]:
    """The indices of the `count` largest, the largest first, of equals the lowest index."""
    count = min(count, values.size)
    if count <= 0:
        return np.empty(0, np.int64)
    if count < values.size:
        least = np.partition(values, values.size - count)[values.size - count]
        found = np.flatnonzero(values >= least)  # with all equals of the last, so that ids decide
    else:
        found = np.arange(values.size)
    return found[np.argsort(-values[found], kind="stable")][:count]
