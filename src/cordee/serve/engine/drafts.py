"""Tokens that may come next, guessed from what the sequence has said before (prompt lookup).

Source of the idea: Saxena, Prompt Lookup Decoding, 2023. A guess costs a row of the step and is kept only where
the sequence would have said the same without it, so answers do not depend on guesses.
"""

from collections.abc import Sequence

LONGEST, SHORTEST = 4, 2
"""Tokens of the end that are looked for further up."""
MOST = 6


class Drafts:
    """The guesses for one sequence, and how well they went."""

    def __init__(self) -> None:
        self._ends: dict[tuple[int, ...], int] = {}
        self._seen = 0
        self._hope = 2.0  # how many of the next guesses may hold

    def guess(self, ids: Sequence[int], most: int) -> list[int]:
        """At most `most` tokens that may follow."""
        self._learn(ids)
        most = min(most, round(self._hope))
        if most < 1:
            self._hope += 0.05  # so that a sequence that begins to repeat itself is tried again
            return []
        for length in range(min(LONGEST, len(ids) - 1), SHORTEST - 1, -1):
            after = self._ends.get(tuple(ids[-length:]))
            if after is not None:
                return list(ids[after : after + most])
        return []

    def judge(self, guessed: int, held: int) -> None:
        """Tell how many of the guessed tokens held."""
        if held == guessed:
            self._hope = min(MOST, self._hope + 1)
        else:
            self._hope = max(0.3, 0.5 * self._hope + 0.5 * held)

    def _learn(self, ids: Sequence[int]) -> None:
        """Note where each run of tokens was followed by another, all but the run at the end."""
        for end in range(max(self._seen, SHORTEST), len(ids)):
            for length in range(SHORTEST, min(LONGEST, end) + 1):
                self._ends[tuple(ids[end - length : end])] = end
        self._seen = max(self._seen, len(ids))
