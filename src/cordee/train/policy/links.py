"""Which link is slow: suspected where all come together and the reduction takes long, named by probes of each pair.

How long a collective takes cannot name a link, for all members take as long as the slowest pair.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import combinations
from statistics import median

from cordee.train.policy.pace import GAIN, Late

USUAL_STEPS = 20
"""So many reductions of a group say how long one usually takes."""
SLOW_TIMES = 3.0
"""One so many times as long is slow, as is a link with such a part of the others' rate."""
STEPS = 4
"""So many slow reductions in a row are looked into,"""
STEPS_LEAST, LOST_S = 2, 1.0
"""or so many, where so much time is lost in them: the last of them need not have ended."""
LEAST_S = 0.02
"""A shorter one is not worth it."""
QUIET_STEPS = 100
"""After a probe so many steps pass before the next,"""
DOUBT_STEPS = 10
"""or so many where it has shown nothing."""
Pair = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Found:
    """What probes have shown."""

    text: str
    ends: tuple[int, ...] = ()
    """Of the link that is slow; one alone: all its links are."""
    gain: float = 1.0
    """A step would be so many times shorter without the last of them."""
    bytes_per_s: float = 0.0
    """What it carries,"""
    compute_s: float = 0.0
    """how long members compute in a step,"""
    reduce_s: float = 0.0
    """how long the reduction takes,"""
    usual_s: float = 0.0
    """and how long it usually does."""

    def around(self, members: int) -> Pair | None:
        """The link, where a step of so many members is clearly shorter if nothing goes over it.

        Those that add up more than usual send and take up to `members` / (`members` - 1) times as much each.
        """
        if len(self.ends) != 2 or members < 3:
            return None
        then_s = self.compute_s + self.usual_s * members / (members - 1)
        shorter = self.compute_s + self.reduce_s > GAIN * then_s
        return (self.ends[0], self.ends[1]) if shorter else None


@dataclass(slots=True)
class Links:
    """What is known of the links of a group of members."""

    around: set[Pair] = field(default_factory=set)
    """Slow links over which nothing goes: neither end of them adds up."""
    _usual_s: list[float] = field(default_factory=list)
    _slow: int = 0
    """So many slow reductions were the last ones,"""
    _lost_s: float = 0.0
    """and took so much longer than usual."""
    _members: tuple[int, ...] = ()
    _quiet: int = 0
    _open: set[Pair] = field(default_factory=set)
    _rates: dict[Pair, float] = field(default_factory=dict)
    _made_s: float = 0.0
    """When the last step was made."""
    _step_s: tuple[float, float] = (0.0, 0.0)
    """How long members computed in it, and how long the reduction took."""

    def changed(self, members: Sequence[int]) -> None:
        """There is another group; of the same members as much is expected as before."""
        if tuple(members) != self._members:
            self._usual_s, self._members = [], tuple(members)
        self._slow = self._quiet = 0
        self._open, self._rates = set(), {}
        self._made_s = self._lost_s = 0.0

    def made(self, late: Late, now_s: float, members: Sequence[int]) -> list[Pair]:
        """A step was made; gives the pairs to be probed."""
        if self._made_s:
            self._step_s = late.came_s - self._made_s, now_s - late.came_s
        self._made_s = now_s
        return self.reduced(now_s - late.came_s, late.waited_s, members)

    def reduced(self, reduce_s: float, waited_s: float, members: Sequence[int]) -> list[Pair]:
        """The pairs to be probed after a reduction, for whose last member others waited so long."""
        self._quiet = max(0, self._quiet - 1)
        if len(self._usual_s) < USUAL_STEPS:
            self._usual_s.append(reduce_s)
            return []
        found = self.under_way(reduce_s, waited_s, members)
        more_s = self._longer_s(reduce_s, waited_s)
        self._slow, self._lost_s = (self._slow + 1, self._lost_s + more_s) if more_s else (0, 0.0)
        return found

    def under_way(self, reduce_s: float, waited_s: float, members: Sequence[int]) -> list[Pair]:
        """The pairs to be probed where a reduction takes so long already."""
        more_s = self._longer_s(reduce_s, waited_s)
        slow, lost_s = self._slow + 1, self._lost_s + more_s
        enough = slow >= STEPS or (slow >= STEPS_LEAST and lost_s >= LOST_S)
        if not more_s or not enough or self._quiet or self._open:
            return []
        self._rates = {}
        pairs = [p for p in combinations(sorted(members), 2) if p not in self.around]
        self._open = set(pairs)
        return pairs

    def _longer_s(self, reduce_s: float, waited_s: float) -> float:
        """How much longer than usual it takes, where that is long; 0: it is not slow."""
        if len(self._usual_s) < USUAL_STEPS:
            return 0.0
        slow = reduce_s > SLOW_TIMES * self._usual and waited_s < reduce_s / 2
        return reduce_s - self._usual if slow else 0.0

    @property
    def _usual(self) -> float:
        """How long a reduction usually takes, in seconds."""
        return max(LEAST_S, median(self._usual_s))

    def adders(self, members: Sequence[int]) -> tuple[int, ...]:
        """The members that add gradients up, so that nothing goes over some links; none: all do."""
        ends = {end for pair in self.around if set(pair) <= set(members) for end in pair}
        return tuple(n for n in members if n not in ends) if ends else ()

    def fellows(self, number: int, members: Sequence[int]) -> tuple[int, ...]:
        """The members to which one sends, and this one."""
        adders = self.adders(members)
        return tuple(n for n in members if not adders or number in adders or n in (number, *adders))

    def goes_around(self, pair: Pair) -> None:
        """From now on nothing goes over a link; another time is usual then."""
        self.around.add(pair)
        self._usual_s = []

    def probed(self, pair: Pair, bytes_per_s: float) -> Found | None:
        """A pair's rate has been measured; when all have, what is found."""
        if pair not in self._open:
            return None
        self._open.discard(pair)
        self._rates[pair] = bytes_per_s
        if self._open:
            return None
        text, ends = _found(self._rates)
        self._quiet = QUIET_STEPS if ends else DOUBT_STEPS
        gain = self._gain(len({n for pair in self._rates for n in pair}))
        return Found(text, ends, gain, min(self._rates.values()), *self._step_s, self._usual)

    def _gain(self, members: int) -> float:
        """How many times shorter a step would be without one of so many."""
        compute_s, reduce_s = self._step_s
        usual_s = median(self._usual_s) if members > 2 else 0.0
        then_s = compute_s * members / (members - 1) + usual_s
        return (compute_s + reduce_s) / then_s if then_s else 1.0


def _found(rates: dict[Pair, float]) -> tuple[str, tuple[int, ...]]:
    """The link that is slow, in words, and its ends."""
    usual = median(rates.values())
    slow = {pair: rate for pair, rate in rates.items() if SLOW_TIMES * rate < usual}
    members = {member for pair in rates for member in pair}
    for member in sorted(members):
        own = [pair for pair in rates if member in pair]
        rest = [rate for pair, rate in rates.items() if member not in pair]
        least, most = min(rates[pair] for pair in own), max(rates[pair] for pair in own)
        # Half of all pairs or more may be its own, so the usual rate is that of the others.
        if rest and SLOW_TIMES * most < median(rest) and most <= SLOW_TIMES * least:
            told = f"{_mb(most)} to others, {_mb(median(rest))} between them"
            return f"the link of worker {member} is slow: {told}", (member,)
    if slow:
        (one, other), rate = min(slow.items(), key=lambda item: item[1])
        told = f"{_mb(rate)}, {_mb(usual)} between others"
        return f"the link between workers {one} and {other} is slow: {told}", (one, other)
    slower = "reductions are slower than they were"
    if len(rates) == 1:
        ((one, other),) = rates
        return f"{slower}: {_mb(usual)} between the two workers", (one, other)
    return f"{slower}, and no link stands out: {_mb(usual)} between workers", ()


def _mb(bytes_per_s: float) -> str:
    return f"{bytes_per_s / 1e6:.1f} MB/s"
