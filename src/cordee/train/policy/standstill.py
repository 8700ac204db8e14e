"""All members wait and nothing moves: which link is down, or whose device hangs, and what is done about it.

A collective does not say for whom it waits. So each member looks whether it reaches the others and whether its own
device answers, and looks again where it does not. A link that is down in both looks is down for good: its ends use
other addresses, or one of them leaves. After one that came back, or that only a collective's failure tells of, the
group is formed again; where the same link is down again, an end of it leaves. Without a sign of what is wrong nobody
leaves.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import combinations

from cordee.train.policy.links import Pair
from cordee.train.policy.workers import WAITING, Limits, Worker

FAILED_S = 1.0
"""So long after a collective has failed it is known whether someone is gone."""
BOTH_S = 0.3
"""Both ends of a link say so within so long that a collective has failed for them."""
AGAIN_S = 1.0
"""A group that was formed again is looked at sooner."""
LOOK_MOST_S = 10.0
"""A look takes no longer,"""
LOOK_PART = 0.375
"""nor more than this part of the time after which all are taken to be stuck: two are over by then."""
REST_TIMES = 2.0
"""Where nothing was found the next look comes so many times later."""
REMEMBER_STEPS = 100
"""A link that was down so many steps ago is down again, not for the first time."""
ALL_PAIRS_MOST = 64
"""Members whose pairs are all looked at; of more, those at distances 1, 2, 4, ... around a ring."""


@dataclass(frozen=True, slots=True)
class Look:
    """Members look whether they reach each other, and whether their devices answer."""

    number: int
    """Of the look: answers to another one do not count."""
    pairs: tuple[Pair, ...]
    """The first of each looks whether it reaches the second."""
    most_s: float
    """So long it may take."""


@dataclass(frozen=True, slots=True)
class Again:
    """The group is formed again."""

    text: str
    ends: tuple[int, ...] = ()
    """Of the links that are down, or slow: they use other addresses, if they have any."""
    down: bool = True
    """Or slow."""


@dataclass(frozen=True, slots=True)
class Around:
    """Gradients are added up by others than these, who send each other nothing then."""

    text: str


@dataclass(frozen=True, slots=True)
class Apart:
    """Members train by themselves from here on."""

    text: str
    steps: int
    """Between two exchanges, at first."""


@dataclass(frozen=True, slots=True)
class Out:
    """These leave."""

    workers: tuple[int, ...]
    reason: str
    text: str = ""
    guilty: bool = False
    """Whether it is their own device,"""
    link: bool = False
    """or their link to others."""


@dataclass(slots=True)
class Standstill:
    """What is known of a group that may be stuck."""

    _failed: dict[int, float] = field(default_factory=dict)
    """Members for whom a collective has failed, and when."""
    _asked: dict[Pair, bool | None] = field(default_factory=dict)
    """What was asked, with the answers; a member and itself: whether its device answers."""
    _asked_s: float = 0.0
    _look: int = 0
    _missed: set[Pair] = field(default_factory=set)
    """Links that were down in the look before, when nothing has moved since."""
    _down: dict[Pair, int] = field(default_factory=dict)
    """Links that were down, and at which step."""
    _formed: int = 0
    """So often in a row the group was formed again and made no step."""
    _rest_times: float = 1.0

    def changed(self) -> None:
        """There is another group."""
        self._failed, self._asked, self._missed, self._rest_times = {}, {}, set(), 1.0

    def stepped(self) -> None:
        """A step was made."""
        self._formed = 0
        self.changed()

    def failed(self, member: int, now_s: float) -> None:
        """A collective has failed for a member."""
        self._failed.setdefault(member, now_s)

    def seen(self, look: int, pair: Pair, *, reached: bool) -> None:
        """The first of a pair has looked whether it reaches the second."""
        if look == self._look and pair in self._asked:
            self._asked[pair] = reached

    def tick(
        self, members: Sequence[Worker], limits: Limits, step: int, now_s: float
    ) -> Look | Again | Out | None:
        """Time has passed."""
        since_s = max((worker.still_since_s for worker in members), default=now_s)
        patience_s = self._rest_times * (AGAIN_S if self._formed else limits.hang_s)
        if not self._asked:
            late = now_s - since_s > patience_s - 2 * _look_s(limits)
            return self._first(members, limits, late, now_s)
        if since_s > self._asked_s and not self._failed:
            self.changed()  # it goes on by itself
            return None
        if None in self._asked.values() and now_s - self._asked_s <= _look_s(limits):
            return None
        first = not (self._missed or self._failed or self._formed)
        if first and (missed := self._unreached()):
            self._missed = missed
            return self._ask(members, limits, now_s)
        waited_s, least_s = now_s - since_s, patience_s
        if self._failed:
            waited_s, least_s = now_s - min(self._failed.values()), BOTH_S
        if waited_s <= least_s:
            return None
        found = self._found(members, step)
        self._asked, self._missed = {}, set()
        if found is None:
            self._rest_times *= REST_TIMES
        return found

    def _first(
        self, members: Sequence[Worker], limits: Limits, late: bool, now_s: float
    ) -> Look | None:
        """Look, once it is time to; `late`: nothing has moved for so long."""
        if len(members) < 2:
            return None
        stuck = late and all(worker.phase in WAITING for worker in members)
        failed = self._failed and now_s - min(self._failed.values()) > FAILED_S
        if not stuck and not failed:
            return None
        return self._ask(members, limits, now_s)

    def _ask(self, members: Sequence[Worker], limits: Limits, now_s: float) -> Look:
        pairs = tuple(pairs_of([worker.number for worker in members]))
        self._asked = dict.fromkeys(((w.number, w.number) for w in members), None)
        self._asked |= dict.fromkeys(pairs, None)
        self._asked_s, self._look = now_s, self._look + 1
        return Look(self._look, pairs, _look_s(limits))

    def _found(self, members: Sequence[Worker], step: int) -> Again | Out | None:
        silent = tuple(
            n for n, other in sorted(self._asked) if n == other and not self._asked[n, n]
        )
        if silent and len(silent) < len(members):
            return Out(silent, "hangs in its own device", guilty=True)
        links = self._unreached()
        down = links or self._missed or self._suspects(members)
        again = {
            pair for pair in down if step - self._down.get(pair, step + 1) in range(REMEMBER_STEPS)
        }
        self._down |= dict.fromkeys(down, step)
        if again:
            return _parted(down, f"{_named(down)} again")
        lasts = links & self._missed
        turns = {worker.number for worker in members if worker.way + 1 < worker.ways}
        if lasts and not turns & {end for pair in lasts for end in pair}:
            return _parted(lasts, _named(lasts))
        if not down and any(worker.moved_bytes < 0 for worker in members):
            return None  # whether anything moves is not known
        self._formed += 1
        if not down:
            return Again("nothing moves between members, who reach each other")
        return Again(_named(down), tuple(sorted({end for pair in down for end in pair})))

    def _unreached(self) -> set[Pair]:
        """Links over which no answer came."""
        return {pair for pair, reached in self._asked.items() if not reached and pair[0] != pair[1]}

    def _suspects(self, members: Sequence[Worker]) -> set[Pair]:
        """Links over which a collective has failed, by who said so. One alone says nothing about the other end."""
        there = sorted(set(self._failed) & {worker.number for worker in members})
        return set(combinations(there, 2)) or {(n, n) for n in there}


def _look_s(limits: Limits) -> float:
    return min(limits.hang_s * LOOK_PART, LOOK_MOST_S)


def _parted(down: Collection[Pair], text: str) -> Out:
    """Ends of links leave, so that none of these is needed."""
    leaves = ends(down)
    cut = {n for pair in down if set(pair) & set(leaves) for n in pair} - set(leaves)
    return Out(leaves, f"exchanges nothing with {_workers(cut)} any more", text, link=True)


def pairs_of(members: Sequence[int]) -> list[Pair]:
    """Who looks whether it reaches whom: all pairs, or of many so many that each has several ways to the others."""
    numbers, count = sorted(members), len(members)
    if count <= ALL_PAIRS_MOST:
        return list(combinations(numbers, 2))
    steps = [1 << power for power in range(count.bit_length() - 1)]
    return [(numbers[at], numbers[(at + step) % count]) for step in steps for at in range(count)]


def ends(down: Collection[Pair]) -> tuple[int, ...]:
    """Who leaves, so that none of these links is needed: who has most of them, of as many the higher number."""
    left, leaves = set(down), []
    while left:
        counts = Counter(end for pair in left for end in set(pair))
        leaves.append(max(counts, key=lambda end: (counts[end], end)))
        left = {pair for pair in left if leaves[-1] not in pair}
    return tuple(sorted(leaves))


def _named(down: Iterable[Pair]) -> str:
    """Links that are down, in words."""
    pairs = sorted(down)
    named = ", ".join(f"{one} and {other}" for one, other in pairs if one != other)
    if not named:
        return f"the link of {_workers({one for one, _ in pairs})} is down"
    if len(pairs) == 1:
        return f"the link between workers {named} is down"
    return f"the links between workers {named} are down"


def _workers(numbers: Collection[int]) -> str:
    if not numbers:
        return "the others"
    word = "worker" if len(numbers) == 1 else "workers"
    return f"{word} {' and '.join(map(str, sorted(numbers)))}"
