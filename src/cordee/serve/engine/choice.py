"""A choice under way: its rows in the cache, its answer, and who is told."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cordee.serve.api.errors import ApiError
from cordee.serve.engine.scheduler import Sequence as Cached
from cordee.serve.sampling import Token, choose, described
from cordee.serve.text.answer import Answer, Piece
from cordee.serve.text.wish import Wish


@dataclass(frozen=True, slots=True)
class Prompt:
    """The tokens of the prompt with their logarithms, where a request asks for them."""

    tokens: tuple[Token, ...]


@dataclass(frozen=True, slots=True)
class Ended:
    """The answer is whole without another token: it was before, or none was asked for."""

    finish: str | None


Event = Piece | Prompt | Ended | ApiError


class Choice:
    """One wish that is being fulfilled."""

    def __init__(self, wish: Wish, answer: Answer, tell: Callable[[Event], None]) -> None:
        """`tell` is called from the event loop. Tokens to go on from are taken here."""
        self.wish, self.answer, self.tell = wish, answer, tell
        self.replayed = self._replay()
        self.sequence = Cached(
            ids=[*wish.prompt_ids, *answer.ids],
            priority=wish.priority,
            reuse=wish.prompt_logprobs is None,
            all_rows=wish.prompt_logprobs is not None,
            draft_most=self._drafts(),
        )
        self.reused = 0
        """How many tokens of it were in the cache already."""
        self._prompt: list[Token] = []

    def _replay(self) -> list[Piece]:
        """The pieces of known tokens that the client has not been told of."""
        wish, known = self.wish, self.wish.continue_from
        if wish.sampling.logprobs is not None:
            known = known[: wish.said]  # later ones are made again, with their logarithms
        pieces = []
        for token in known:
            if self.answer.finished is None:
                piece = self.answer.take(Token(token))
                if piece is not None:
                    pieces.append(piece)
        return pieces

    def next(self, logits: NDArray[np.float32]) -> tuple[int, Piece | None]:
        """The answer goes on by a token chosen from its logits."""
        answer, wish = self.answer, self.wish
        token = choose(
            logits, wish.sampling, wish.prompt_ids, answer.ids, len(answer.ids), answer.mask()
        )
        piece = answer.take(token)
        self.sequence.ids.append(token.id)
        self.sequence.draft_most = self._drafts()
        return token.id, piece

    def see_prompt(self, first: int, logits: NDArray[np.float32]) -> Prompt | None:
        """Logits of prompt rows from `first` on; gives the prompt once all are seen."""
        ids, count = self.wish.prompt_ids, self.wish.prompt_logprobs
        if count is None or len(self._prompt) >= len(ids):
            return None
        if not self._prompt:
            self._prompt.append(Token(ids[0]))  # nothing comes before it
        for place, row in enumerate(logits, first + 1):
            if len(self._prompt) == place < len(ids):
                self._prompt.append(described(row, ids[place], count))
        if len(self._prompt) < len(ids):
            return None
        return Prompt(tuple(self._prompt))

    @property
    def over(self) -> bool:
        """Whether no token is to come, so that only the prompt is to be read, if that."""
        return self.answer.finished is not None or self.wish.max_tokens == 0

    def _drafts(self) -> int:
        return max(0, self.wish.max_tokens - len(self.answer.ids) - 1)


Told = Sequence[tuple[Choice, Event]]
