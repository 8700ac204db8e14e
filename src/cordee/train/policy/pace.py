"""Who is slow, and what is done about it: shards move to those that are faster, and back.

How long a worker takes for a shard it says itself, by its own clock; when it comes to the reduction the coordinator
sees by its own. A move must promise a step that is clearly shorter, several times in a row, so that noise moves
nothing; the same rule moves shards back.
"""

from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median

from cordee.train.policy.shards import even

SEEN = 5
"""A worker's time for a shard is the median of so many steps."""
GAIN = 1.25
"""A step must become so many times shorter for shards to move."""
STEPS = 4
"""So many steps in a row promise that."""
EVICT_GAIN = 2.0
"""Without one that has only one shard left a step would be so many times shorter:"""
EVICT_STEPS = 16
"""so many steps in a row, and it is to leave."""


@dataclass(frozen=True, slots=True)
class Move:
    """Shards get other owners."""

    owners: tuple[int, ...]
    text: str


@dataclass(frozen=True, slots=True)
class TooSlow:
    """The others are faster without it."""

    worker: int
    text: str


@dataclass(frozen=True, slots=True)
class Late:
    """Whom all others waited for in a step."""

    worker: int
    waited_s: float
    """How long the first one that came did."""
    came_s: float


@dataclass(slots=True)
class Pace:
    """How fast members are, as far as it is known."""

    moves: bool = True
    _shard_s: dict[int, deque[float]] = field(default_factory=dict)
    _arrived_s: dict[int, float] = field(default_factory=dict)
    _promising: int = 0
    _hopeless: int = 0

    def arrived(self, worker: int, shard_s: float, now_s: float) -> None:
        """A member has come to the reduction; its shards take so long."""
        self._arrived_s[worker] = now_s
        if shard_s > 0:
            self._shard_s.setdefault(worker, deque(maxlen=SEEN)).append(shard_s)

    def late(self) -> Late | None:
        """Who came last to the reduction of the step that was just made."""
        found = self.latest(2)
        self._arrived_s = {}
        return found

    def latest(self, members: int) -> Late | None:
        """Who was the last one to come to the reduction, where so many have come."""
        came = self._arrived_s
        if len(came) < max(2, members):
            return None
        last = max(came, key=lambda worker: came[worker])
        return Late(last, came[last] - min(came.values()), came[last])

    def changed(self) -> None:
        """Members have changed: what was promising may not be any more."""
        self._arrived_s = {}
        self._promising = self._hopeless = 0

    def speeds(self, shards: int, members: Sequence[int]) -> dict[int, float]:
        """Shards per second, where a step is clearly shorter if they are heeded; else none."""
        known = self._known(members)
        if not self.moves or not known:
            return {}
        found = {worker: 1 / shard_s for worker, shard_s in known.items()}
        plain_s = _step_s(even(shards, members), known)
        return found if plain_s > GAIN * _step_s(even(shards, members, found), known) else {}

    def stepped(self, owners: Sequence[int], members: Sequence[int]) -> Move | TooSlow | None:
        """What to do after a step with these owners."""
        known = self._known(members)
        if not self.moves or not known or len(owners) < len(members):
            return None
        other = even(len(owners), members, self.speeds(len(owners), members))
        now_s, then_s = _step_s(owners, known), _step_s(other, known)
        self._promising = self._promising + 1 if now_s > GAIN * then_s else 0
        if self._promising >= STEPS:
            self._promising = self._hopeless = 0
            return Move(tuple(other), _told(other, known))
        return self._without(owners, members, known)

    def _without(
        self, owners: Sequence[int], members: Sequence[int], known: Mapping[int, float]
    ) -> TooSlow | None:
        slow = max(members, key=lambda worker: known[worker])
        rest = [worker for worker in members if worker != slow]
        if not rest or list(owners).count(slow) > 1:
            self._hopeless = 0
            return None
        then_s = _step_s(even(len(owners), rest, self.speeds(len(owners), rest)), known)
        hopeless = _step_s(owners, known) > EVICT_GAIN * then_s
        self._hopeless = self._hopeless + 1 if hopeless else 0
        if self._hopeless < EVICT_STEPS:
            return None
        self._hopeless = 0
        times = known[slow] / median(known[worker] for worker in rest)
        return TooSlow(slow, f"takes {times:.1f} times as long for a shard as others do")

    def _known(self, members: Sequence[int]) -> dict[int, float]:
        """Of each member the seconds for a shard; empty where one is not known well enough."""
        seen = {worker: self._shard_s.get(worker, ()) for worker in members}
        if any(len(found) < STEPS for found in seen.values()):
            return {}
        return {worker: median(found) for worker, found in seen.items()}


def _step_s(owners: Sequence[int], shard_s: Mapping[int, float]) -> float:
    """How long the shards of a step take whoever has most to do."""
    return max(count * shard_s[worker] for worker, count in Counter(owners).items())


def _told(owners: Sequence[int], shard_s: Mapping[int, float]) -> str:
    slow = max(shard_s, key=lambda worker: shard_s[worker])
    others = [seconds for worker, seconds in shard_s.items() if worker != slow]
    times = shard_s[slow] / median(others)
    share = list(owners).count(slow)
    if times < GAIN:
        return "all are about as fast: shards are spread evenly"
    return (
        f"worker {slow} takes {times:.1f} times as long for a shard as others do: it gets {share} of "
        f"{len(owners)} shards"
    )
