"""The requests in vLLM's batch whose tokens are chosen here: by (seed, position), knowing what was said before."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from cordee.serve.randomness import uniform
from cordee.serve.vllm.drawing import drawn, penalised

SAID = "cordee_said"
"""The field among `vllm_xargs`: how many tokens at the end of the prompt are the answer's; 0: it begins."""


class Wishes(Protocol):
    """What is read of vLLM's SamplingParams."""

    temperature: float
    top_p: float
    top_k: int
    min_p: float
    seed: int | None
    frequency_penalty: float
    presence_penalty: float
    repetition_penalty: float
    extra_args: Mapping[str, object] | None


def said_of(wishes: Wishes) -> int | None:
    """How much of the answer is in the prompt; None where vLLM is to choose by itself. Raises `ValueError`."""
    said = (wishes.extra_args or {}).get(SAID)
    if said is None:
        return None
    if not isinstance(said, int) or said < 0:
        raise ValueError(f"vllm_xargs: {SAID} is {said!r}, not a number of tokens")
    return said


@dataclass(slots=True, eq=False)
class Row:
    """One request."""

    wishes: Wishes
    said: int
    before: Sequence[int]
    """The prompt, with what was said elsewhere at its end."""
    output: Sequence[int]
    """vLLM's own list, which grows."""
    seen: Tensor | None = None
    counts: Tensor | None = None
    counted: int = 0
    """How many tokens of `output` are in these two."""

    @property
    def draws(self) -> bool:
        return self.wishes.temperature > 0

    @property
    def repeats(self) -> bool:
        return self.wishes.repetition_penalty != 1.0

    @property
    def counts_words(self) -> bool:
        return bool(self.wishes.frequency_penalty or self.wishes.presence_penalty)

    def scores(self, logits: Tensor) -> Tensor:
        """Its logits after penalties."""
        if not (self.repeats or self.counts_words):
            return logits
        self._count(logits)
        wishes = self.wishes
        return penalised(
            logits,
            self.seen if self.repeats else None,
            self.counts if self.counts_words else None,
            wishes.repetition_penalty,
            wishes.frequency_penalty,
            wishes.presence_penalty,
        )

    def number(self) -> float:
        """The random number of its next token."""
        return uniform(self.wishes.seed or 0, self.said + len(self.output))

    def _count(self, logits: Tensor) -> None:
        if self.seen is None or self.counts is None:
            self.seen = torch.zeros(logits.shape[0], dtype=torch.bool, device=logits.device)
            self.counts = torch.zeros(logits.shape[0], dtype=torch.int64, device=logits.device)
            self._add(self.before, self.before[len(self.before) - self.said :])
        fresh = self.output[self.counted :]
        self._add(fresh, fresh)
        self.counted += len(fresh)

    def _add(self, seen: Sequence[int], said: Sequence[int]) -> None:
        assert self.seen is not None
        assert self.counts is not None
        if len(seen):
            self.seen[torch.tensor(seen, device=self.seen.device)] = True
        if len(said):
            ids = torch.tensor(said, device=self.counts.device)
            self.counts.index_add_(0, ids, torch.ones_like(ids))


class Rows:
    """All such requests by their place in the batch."""

    def __init__(self) -> None:
        self._rows: dict[int, Row] = {}

    def remove(self, place: int) -> None:
        self._rows.pop(place, None)

    def add(
        self, place: int, wishes: Wishes, prompt: Sequence[int] | None, output: Sequence[int]
    ) -> None:
        """A request comes to a place."""
        self.remove(place)
        said = said_of(wishes)
        if said is None:
            return
        row = Row(wishes, min(said, len(prompt or ())), prompt or (), output)
        if row.draws or row.repeats or row.counts_words:
            self._rows[place] = row

    def move(self, source: int, target: int, *, swap: bool) -> None:
        """A request goes to another's place, which gets its own or is gone."""
        moved, other = self._rows.pop(source, None), self._rows.pop(target, None)
        if moved is not None:
            self._rows[target] = moved
        if swap and other is not None:
            self._rows[source] = other

    def apply(self, logits: Tensor) -> Tensor:
        """Leave, in each row [batch, vocabulary] that is one of these, nothing but the token chosen.

        What vLLM does after that, by temperature, top_p or penalties of its own, finds no other token.
        """
        if not self._rows:
            return logits
        rows = list(self._rows.values())
        places = torch.tensor(list(self._rows), device=logits.device)
        given = logits[places].float()
        scores = torch.stack([row.scores(given[n]) for n, row in enumerate(rows)])
        chosen = scores.argmax(1)
        drawing = [n for n, row in enumerate(rows) if row.draws]
        if drawing:
            chosen[drawing] = _drawn(scores[drawing], [rows[n] for n in drawing])
        logits[places] = -torch.inf
        logits[places, chosen] = 0.0
        return logits


def _drawn(scores: Tensor, rows: Sequence[Row]) -> Tensor:
    def of(values: Sequence[float]) -> Tensor:
        return torch.tensor(values, dtype=torch.float64)

    return drawn(
        scores,
        of([row.wishes.temperature for row in rows]),
        torch.tensor([row.wishes.top_k for row in rows]),
        of([row.wishes.top_p for row in rows]),
        of([row.wishes.min_p for row in rows]),
        of([row.number() for row in rows]),
    )
