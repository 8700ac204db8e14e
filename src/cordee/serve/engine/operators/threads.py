"""How many threads make a step on the CPU: all, or one less so that a core is left to those who carry its tokens away."""

from collections import deque
from math import inf

LOOK = 64
"""In every so manieth step the number that was worse is tried again: others come and go on the machine."""
PAYS = 0.95
"""With all, a step must take at most so much of its time with one less."""
LAST = 3
"""The quickest of so many counts, for now and then a step is held up and says nothing of the others."""


class Threads:
    """Chooses by the time that steps with about as many rows took. The bits of a step do not depend on it."""

    def __init__(self, cores: int, given: int = 0) -> None:
        """`given`: always so many."""
        self.most = given or cores
        self._fewer = given or max(1, cores - 1)
        self._took_s: dict[tuple[int, int], deque[float]] = {}
        self._steps: dict[int, int] = {}

    def of(self, rows: int) -> int:
        """For a step with so many rows."""
        size = rows.bit_length()
        self._steps[size] = step = self._steps.get(size, 0) + 1
        with_all, with_fewer = (
            min(self._took_s.get((size, threads), (inf,))) for threads in (self.most, self._fewer)
        )
        better, worse = self._fewer, self.most
        if with_all < PAYS * with_fewer:
            better, worse = worse, better
        return worse if step % LOOK == 0 or (size, worse) not in self._took_s else better

    def took(self, rows: int, threads: int, seconds: float) -> None:
        """What a step took."""
        self._took_s.setdefault((rows.bit_length(), threads), deque(maxlen=LAST)).append(seconds)
