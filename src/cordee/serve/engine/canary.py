"""A row in every step whose right result is known, so that a chip that reckons wrongly is found at once."""

from typing import Generic

import numpy as np

from cordee.core.errors import CordeeError
from cordee.serve.engine.decoder import Decoder
from cordee.serve.engine.operators.table import BLOCK_TOKENS, A, C, Rows, W


class WrongResults(CordeeError):
    """The chip gave another result than before for the same work."""


class Canary(Generic[A, W, C]):
    """The last row of a short text that has a block of the cache for itself.

    It passes through every operator and all weights of the decoder. What it cannot find is a fault that
    strikes some rows only, or one that was there when the engine began; for these the gateway compares replicas.
    """

    def __init__(self, decoder: Decoder[A, W, C], cache: C, block: int) -> None:
        self.block = block
        count = decoder.shape.vocabulary
        self._ids = [(7 + 131 * place) % count for place in range(BLOCK_TOKENS)]
        prompt = self._rows(range(BLOCK_TOKENS - 1))
        decoder.logits(prompt, cache)
        self._expected = decoder.logits(self._rows([BLOCK_TOKENS - 1]), cache)[0].copy()

    def row(self) -> tuple[int, int]:
        """The id and the position of the row."""
        return self._ids[-1], BLOCK_TOKENS - 1

    def check(self, logits: np.ndarray) -> None:
        """Raise `WrongResults` where the row's logits are not the known ones, bit for bit."""
        wrong = int((logits != self._expected).sum())
        if wrong:
            raise WrongResults(
                f"the chip reckons wrongly: {wrong} of {logits.size} logits of a row with a known "
                "result differ from those of the engine's start"
            )

    def _rows(self, places: range | list[int]) -> Rows:
        count = len(places)
        return Rows(
            ids=np.array([self._ids[p] for p in places], np.int32),
            positions=np.array(list(places), np.int32),
            sequence=np.zeros(count, np.int32),
            tables=np.array([[self.block]], np.int32),
            wanted=np.array([count - 1], np.int32),
        )
