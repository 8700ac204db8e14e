"""Which of several replicas reckons otherwise than it should, from their answers to one question."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest

NEAR = 0.25
"""Logarithms of one token's probability that differ by no more are the same but for rounding."""


@dataclass(frozen=True, slots=True)
class Sample:
    """A greedy answer of one replica."""

    replica: str
    numerics: str
    """Engines with the same value give the same bits; empty where they say nothing of it."""
    tokens: tuple[Hashable, ...]
    logprobs: tuple[float, ...]
    """Of each token; none where the engine does not tell them."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Which replicas reckon wrongly, and why; and which differ without anyone knowing who is right."""

    wrong: Mapping[str, str]
    undecided: tuple[str, ...] = ()


def agree(one: Sample, other: Sample) -> bool:
    """Whether two answers are the same: bit for bit where that is promised, else but for rounding.

    Where the tokens part they need only be as likely as one another: what follows is of different texts.
    """
    if one.numerics and one.numerics == other.numerics:
        return one.tokens == other.tokens and one.logprobs == other.logprobs
    if not (one.logprobs and other.logprobs):
        return True  # from texts alone rounding cannot be told from errors
    for a, b, p, q in zip_longest(one.tokens, other.tokens, one.logprobs, other.logprobs):
        if p is None or q is None or abs(p - q) > NEAR:
            return False
        if a != b:
            return True
    return True


def judge(samples: Sequence[Sample], former: Mapping[str, Sample]) -> Verdict:
    """The majority is right; where there is none, who answers as before."""
    agreeing = [[other for other in samples if agree(sample, other)] for sample in samples]
    largest = max(agreeing, key=len, default=[])
    if len(samples) > 1 and 2 * len(largest) > len(samples):
        names = {sample.replica for sample in largest}
        told = f"reckons otherwise than {len(largest)} of {len(samples)} replicas"
        return Verdict({s.replica: told for s in samples if s.replica not in names})
    changed = {
        sample.replica: "reckons otherwise than it did before"
        for sample in samples
        if not _as_before(sample, former.get(sample.replica))
    }
    if changed or len(samples) < 2:
        return Verdict(changed)
    return Verdict({}, tuple(sample.replica for sample in samples))


def _as_before(sample: Sample, before: Sample | None) -> bool:
    if before is None or not sample.numerics or before.numerics != sample.numerics:
        return True  # it is another engine now, or it promises nothing
    return agree(sample, before)
