"""Which link is slow: suspected where all come together and the reduction takes long, named by probes of each pair.

How long a collective takes cannot name a link, for all members take as long as the slowest pair.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import combinations
from statistics import median

USUAL_STEPS = 20
"""So many reductions of a group say how long one usually takes."""
SLOW_TIMES = 3.0
"""One so many times as long is slow, as is a link with such a part of the others' rate."""
STEPS = 4
"""So many slow reductions in a row are looked into."""
LEAST_S = 0.02
"""A shorter one is not worth it."""
QUIET_STEPS = 100
"""After a probe so many steps pass before the next."""
Pair = tuple[int, int]


@dataclass(slots=True)
class Links:
    """What is known of the links of a group of members."""

    _usual_s: list[float] = field(default_factory=list)
    _slow: int = 0
    _quiet: int = 0
    _open: set[Pair] = field(default_factory=set)
    _rates: dict[Pair, float] = field(default_factory=dict)

    def changed(self) -> None:
        """There is another group."""
        self._usual_s, self._slow = [], 0
        self._open, self._rates = set(), {}

    def reduced(self, reduce_s: float, waited_s: float, members: Sequence[int]) -> list[Pair]:
        """The pairs to be probed after a reduction, for whose last member others waited so long."""
        self._quiet = max(0, self._quiet - 1)
        if len(self._usual_s) < USUAL_STEPS:
            self._usual_s.append(reduce_s)
            return []
        usual_s = max(LEAST_S, median(self._usual_s))
        slow = reduce_s > SLOW_TIMES * usual_s and waited_s < reduce_s / 2
        self._slow = self._slow + 1 if slow else 0
        if self._slow < STEPS or self._quiet or self._open:
            return []
        self._quiet, self._rates = QUIET_STEPS, {}
        pairs = list(combinations(sorted(members), 2))
        self._open = set(pairs)
        return pairs

    def probed(self, pair: Pair, bytes_per_s: float) -> str:
        """A pair's rate has been measured; when all have, what is found."""
        if pair not in self._open:
            return ""
        self._open.discard(pair)
        self._rates[pair] = bytes_per_s
        return "" if self._open else _found(self._rates)


def _found(rates: dict[Pair, float]) -> str:
    """The link that is slow, in words."""
    usual = median(rates.values())
    slow = {pair: rate for pair, rate in rates.items() if SLOW_TIMES * rate < usual}
    members = {member for pair in rates for member in pair}
    for member in sorted(members):
        own = [pair for pair in rates if member in pair]
        rest = [rate for pair, rate in rates.items() if member not in pair]
        # Half of all pairs or more may be its own, so the usual rate is that of the others.
        if rest and all(SLOW_TIMES * rates[pair] < median(rest) for pair in own):
            most = max(rates[pair] for pair in own)
            return f"the link of worker {member} is slow: {_mb(most)} to others, {_mb(median(rest))} between them"
    if slow:
        (one, other), rate = min(slow.items(), key=lambda item: item[1])
        return f"the link between workers {one} and {other} is slow: {_mb(rate)}, {_mb(usual)} between others"
    if len(rates) == 1:
        return f"reductions are slower than they were: {_mb(usual)} between the two workers"
    return f"reductions are slower than they were, and no link stands out: {_mb(usual)} between workers"


def _mb(bytes_per_s: float) -> str:
    return f"{bytes_per_s / 1e6:.1f} MB/s"
