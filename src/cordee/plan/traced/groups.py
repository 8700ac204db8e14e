"""Who talks to whom: communicators of a traced program, on other nodes and with more copies of it."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cordee.hw.accelerator import Accelerator
from cordee.plan.costs.links import Group
from cordee.plan.traced.operators import Work
from cordee.plan.traced.trace import Rank

SUMS = ("reduce", "scatter")


@dataclass(frozen=True, slots=True)
class Member:
    """A rank in a communicator."""

    identity: str
    place: int
    """Its own number among them."""


@dataclass(frozen=True, slots=True)
class Communicators:
    """All of a program."""

    ranks: Mapping[str, tuple[int, ...]]
    """Of each, by its identity, in their order."""
    sizes: Mapping[str, int]
    """How many belong to it; more than `ranks` where not all were traced."""
    summing: frozenset[str]
    """Those that sum up gradients: copies of the program join them."""

    def member(self, rank: Rank, name: str) -> Member:
        """What torch.distributed calls `name`, as that rank sees it."""
        found = rank.groups.get(name)
        if found:
            return Member(found.identity, found.rank)
        ranks = self.ranks[_unnamed(name)]
        return Member(_unnamed(name), ranks.index(rank.number))

    def group(self, identity: str, chip: Accelerator, copies: int, all_ranks: int) -> Group:
        """Its chips where ranks are numbered through nodes of that chip, copy after copy."""
        node = chip.supernode_chips or chip.chips_per_node
        own = self.ranks[identity]
        per_node: dict[int, int] = defaultdict(int)
        for rank in own:
            per_node[rank // node] += 1
        size, within = self.sizes[identity], max(per_node.values(), default=1)
        if identity in self.summing and copies > 1:
            within *= max(min(node // all_ranks, copies), 1)
            size *= copies
        return Group(size=size, within=min(within, size))


def communicators(
    ranks: Sequence[Rank], works: Sequence[Sequence[tuple[str, Work]]], *, trains: bool
) -> Communicators:
    """From what each rank called: `works` are its words with others, with the phase they were in."""
    places: dict[str, dict[int, int]] = defaultdict(dict)
    sizes: dict[str, int] = {}
    for rank, words in zip(ranks, works, strict=True):
        for _, work in words:
            found = rank.groups.get(work.group)
            identity = found.identity if found else _unnamed(work.group)
            places[identity][found.rank if found else rank.number] = rank.number
            sizes[identity] = work.members
    members = {
        identity: tuple(number for _, number in sorted(own.items()))
        for identity, own in places.items()
    }
    summing = _summing(ranks, works) if trains else frozenset()
    return Communicators(ranks=members, sizes=sizes, summing=summing)


def _unnamed(name: str) -> str:
    return f"group {name}"


def _summing(ranks: Sequence[Rank], works: Sequence[Sequence[tuple[str, Work]]]) -> frozenset[str]:
    """Groups that sum up after a pass and never in one, of which each rank's largest is meant."""
    chosen = set()
    for rank, words in zip(ranks, works, strict=True):
        summed: dict[str, float] = defaultdict(float)
        others = set()
        for phase, work in words:
            found = rank.groups.get(work.group)
            identity = found.identity if found else _unnamed(work.group)
            if work.collective is None or work.collective.pattern in ("exchange", "send"):
                others.add(identity)
            elif work.collective.pattern in SUMS:
                if phase == "forward":
                    others.add(identity)
                else:
                    summed[identity] += work.collective.size_bytes
        own = {identity: size for identity, size in summed.items() if identity not in others}
        if own:
            chosen.add(max(own, key=lambda identity: own[identity]))
    return frozenset(chosen)
