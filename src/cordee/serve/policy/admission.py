"""Who may begin, who waits and who is refused: limits of keys, and a bounded queue by priority."""

import heapq
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Generic, TypeVar

T = TypeVar("T")
QUEUE_MOST = 256
"""So many wait, where nothing else is said; more are refused."""
REQUEST_TIMEOUT_S = 600.0
"""So long a request may take, where nothing else is said."""
MOVED_PRIORITY = 10_000
"""Those whose replica failed go before those who have not begun."""


def refused(waiting: int, most: int, *, free: bool) -> bool:
    """Whether one who comes now must go again: so many wait already, and no replica has room."""
    return waiting >= most and not free


def rank(priority: int, *, begun: bool) -> int:
    """Where a request stands among those that wait, here and on replicas: the larger the sooner."""
    return priority + (MOVED_PRIORITY if begun else 0)


@dataclass(slots=True)
class Bucket:
    """So many per minute, and never more at once than a minute's worth."""

    per_minute: float
    level: float = field(init=False)
    filled_s: float = 0.0

    def __post_init__(self) -> None:
        self.level = self.per_minute

    def take(self, amount: float, now_s: float) -> float:
        """Take an amount: 0 where it is there, else in how many seconds it would be."""
        self._fill(now_s)
        if self.level >= min(amount, self.per_minute):
            self.level -= amount
            return 0.0
        return (min(amount, self.per_minute) - self.level) * 60 / self.per_minute

    def spend(self, amount: float, now_s: float) -> None:
        """Take what has been used already; the level may go below zero."""
        self._fill(now_s)
        self.level -= amount

    def _fill(self, now_s: float) -> None:
        passed, self.filled_s = max(0.0, now_s - self.filled_s), now_s
        self.level = min(self.per_minute, self.level + passed * self.per_minute / 60)


class Queue(Generic[T]):
    """Those who wait: the highest priority first, then who came first. Bounded."""

    def __init__(self, most: int) -> None:
        self.most = most
        self._heap: list[tuple[int, int, T]] = []
        self._arrivals = 0

    def __len__(self) -> int:
        return len(self._heap)

    def __iter__(self) -> Iterator[T]:
        return (entry for _, _, entry in sorted(self._heap))  # no two arrivals are one

    def put(self, entry: T, priority: int) -> bool:
        """Wait, or be refused where the queue is full."""
        if len(self._heap) >= self.most:
            return False
        self._arrivals += 1
        heapq.heappush(self._heap, (-priority, self._arrivals, entry))
        return True

    def pop(self) -> T | None:
        """Who is next."""
        return heapq.heappop(self._heap)[2] if self._heap else None

    def remove(self, entry: T) -> None:
        """Somebody goes away."""
        left = [waiting for waiting in self._heap if waiting[2] is not entry]
        if len(left) < len(self._heap):
            heapq.heapify(left)
            self._heap = left


def retry_after_s(waiting: int, ended_per_s: float) -> float:
    """In how many seconds a client that is refused now may find room: when the queue is worked off."""
    if ended_per_s <= 0:
        return 1.0
    return min(60.0, max(1.0, waiting / ended_per_s))
