"""What is done about links between members: other addresses where one is slow or down, and at last one end leaves."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from cordee.train.policy.effects import Probe
from cordee.train.policy.links import Found, Links, Pair
from cordee.train.policy.pace import EVICT_GAIN, Late
from cordee.train.policy.rounds import Stray, steps_between
from cordee.train.policy.standstill import Again, Apart, Around, Look, Out, Standstill
from cordee.train.policy.workers import Limits, Worker


@dataclass(slots=True)
class Ties:
    """Those of a group of members."""

    links: Links = field(default_factory=Links)
    standstill: Standstill = field(default_factory=Standstill)
    strays: dict[int, Stray] = field(default_factory=dict)
    """What workers have said of training by themselves."""
    _slow: Found | None = None
    """A slow link about which nothing was done yet."""

    def changed(self, members: Sequence[int]) -> None:
        """There is another group."""
        self.links.changed(members)
        self.standstill.changed()
        self._slow = None

    def stepped(self, late: Late | None, now_s: float, members: Sequence[int]) -> Probe | None:
        """A step was made. `late`: who came last to its reduction."""
        self.standstill.stepped()
        return _probe(self.links.made(late, now_s, members)) if late is not None else None

    def tick(
        self,
        members: Sequence[Worker],
        late: Late | None,
        limits: Limits,
        step: int,
        now_s: float,
    ) -> Look | Probe | Again | Out | None:
        """Time has passed. `late`: who came last, where all have come to the reduction."""
        if late is not None:
            numbers = [worker.number for worker in members]
            pairs = self.links.under_way(now_s - late.came_s, late.waited_s, numbers)
            if pairs:
                return _probe(pairs)
        return self.standstill.tick(members, limits, step, now_s)

    def probed(self, pair: Pair, bytes_per_s: float) -> str:
        """A pair's rate has been measured; when all have, what is found."""
        found = self.links.probed(pair, bytes_per_s)
        if found is None:
            return ""
        self._slow = found
        return found.text

    def relief(
        self, members: Mapping[int, Worker], limits: Limits
    ) -> Again | Around | Apart | Out | None:
        """What is done about a link that is slow; what is reduced over it is reduced again."""
        slow, self._slow = self._slow, None
        if slow is None or not slow.ends or not set(slow.ends) <= members.keys():
            return None
        if any(members[end].way + 1 < members[end].ways for end in slow.ends):
            return Again(slow.text, slow.ends, down=False)
        pair = slow.around(len(members))
        if pair is not None and set(self.links.adders(list(members)) or members) - set(pair):
            self.links.goes_around(pair)
            how = "neither end adds up, and nothing goes over it any more"
            return Around(f"{slow.text}: {how}")
        strays = [self.strays.get(number, Stray()) for number in members]
        steps = steps_between(strays, _carried(slow, strays), slow.compute_s)
        if steps:
            return Apart(f"{slow.text}: workers train by themselves", steps)
        enough = limits.moves and len(members) > max(1, limits.least) and limits.replica == 1
        if not enough or slow.gain <= EVICT_GAIN:
            return None
        times = f"a step is {slow.gain:.1f} times shorter without it"
        return Out((slow.ends[-1],), f"has a link so slow that {times}", link=True)


def _carried(slow: Found, strays: Sequence[Stray]) -> float:
    """Bytes a second of a slow link: as many as a probe has shown, which shares it, or as reductions have sent over it.

    A ring, and what does as much, sends twice the gradient over each link, divided by the number of members.
    """
    sent_bytes = 2 * max(stray.gradient_bytes for stray in strays) / len(strays)
    return max(slow.bytes_per_s, sent_bytes / slow.reduce_s if slow.reduce_s > 0 else 0.0)


def _probe(pairs: Sequence[Pair]) -> Probe | None:
    return Probe(tuple(pairs)) if pairs else None
