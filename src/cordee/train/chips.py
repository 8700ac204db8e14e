"""The chips of one computer: which worker has which, and which get none, for a while or for good."""

from collections.abc import Sequence

REST_S = 10.0
"""So long a chip gets no worker after one of its links has failed, each time twice as long as the time before,"""
REST_MOST_S = 3600.0
"""but no longer: who replaced the link need not tell."""


class Chips:
    """None: workers run on the CPU."""

    def __init__(self, chips: Sequence[int]) -> None:
        self._all = tuple(chips)
        self._taken: dict[int, int] = {}
        self._bad: set[int] = set()
        self._rests: dict[int, int] = {}
        """How often the links of a chip have failed,"""
        self._until_s: dict[int, float] = {}
        """and until when it gets no worker."""

    def take(self, worker: int, now_s: float) -> int | None:
        """One that no worker has; of all taken ones the first that is to be used."""
        able = self._able(now_s)
        taken = set(self._taken.values())
        free = [chip for chip in able if chip not in taken]
        chip = next(iter(free or able or self._all), None)
        if chip is not None:
            self._taken[worker] = chip
        return chip

    def leave(self, worker: int) -> None:
        """A worker has ended."""
        self._taken.pop(worker, None)

    def distrust(self, worker: int) -> None:
        """A worker's chip reckons wrongly: no other worker gets it."""
        if worker in self._taken:
            self._bad.add(self._taken[worker])

    def rest(self, worker: int, now_s: float) -> float:
        """A link of a worker's chip has failed; gives for how long no worker gets that, in seconds."""
        chip = self._taken.get(worker)
        if chip is None:
            return 0.0
        rest_s = min(REST_MOST_S, REST_S * 2.0 ** self._rests.get(chip, 0))
        self._rests[chip] = self._rests.get(chip, 0) + 1
        self._until_s[chip] = now_s + rest_s
        return rest_s

    def most(self, now_s: float) -> int | None:
        """So many workers can run here, one on each of those that are to be used; None: all are, and more may share them."""
        able = self._able(now_s)
        return None if len(able) == len(self._all) else len(able)

    def _able(self, now_s: float) -> list[int]:
        rest = {chip for chip, until_s in self._until_s.items() if now_s < until_s}
        return [chip for chip in self._all if chip not in self._bad | rest]
