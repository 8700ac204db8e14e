"""The global batch as a fixed number of logical shards: who computes which, and in what order they are added.

A sum of floats depends on its order. So gradients of shards are added along one binary tree that depends on the
number of shards only, whoever computed them: that is what makes a run with failures equal one without, bit for bit.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class Node:
    """The sum of the shards from `first` to before `end`."""

    first: int
    end: int

    @property
    def leaf(self) -> bool:
        return self.end - self.first == 1

    @property
    def halves(self) -> tuple["Node", "Node"]:
        """What it is the sum of, in this order."""
        middle = self.first + _half(self.end - self.first)
        return Node(self.first, middle), Node(middle, self.end)


def parent(node: Node, shards: int) -> Node | None:
    """The node of which it is a half; None for the sum of all."""
    at = Node(0, shards)
    while at != node:
        left, right = at.halves
        below = left if node.end <= left.end else right
        if below == node:
            return at
        at = below
    return None


def cover(held: Iterable[int], shards: int) -> list[Node]:
    """The largest nodes that consist of held shards only, in order."""
    mine = set(held)

    def within(node: Node) -> list[Node]:
        if all(shard in mine for shard in range(node.first, node.end)):
            return [node]
        if node.leaf:
            return []
        left, right = node.halves
        return within(left) + within(right)

    return within(Node(0, shards)) if mine else []


def even(
    shards: int, members: Sequence[int], speeds: Mapping[int, float] | None = None
) -> list[int]:
    """The owner of each shard: neighbours together, and as many for each as its speed asks for.

    One is left to each that has a speed at all, so that it is seen when it gets faster.
    """
    weights = [max(0.0, (speeds or {}).get(member, 1.0)) for member in members]
    whole = sum(weights)
    if whole == 0:
        weights, whole = [1.0] * len(members), float(len(members))
    ends: list[int] = []
    total = 0.0
    after = sum(weight > 0 for weight in weights)
    spare = shards >= after
    for weight in weights:
        total += weight
        end = round(shards * total / whole)
        if spare and weight:
            after -= 1
            end = min(max(end, (ends[-1] if ends else 0) + 1), shards - after)
        ends.append(end)
    owners: list[int] = []
    for member, end in zip(members, ends, strict=True):
        owners += [member] * (end - len(owners))
    return owners


def assign(
    shards: int,
    members: Sequence[int],
    held: Mapping[int, Iterable[int]],
    speeds: Mapping[int, float] | None = None,
) -> list[int]:
    """The owner of each shard in a step that is under way: what is computed stays where it is.

    The others go to their usual owner if that has room, else to whoever has most room.
    """
    owners: dict[int, int] = {}
    for member in members:
        for shard in held.get(member, ()):
            owners.setdefault(shard, member)
    usual = even(shards, members, speeds)
    most, load = Counter(usual), Counter(owners.values())
    for shard in range(shards):
        if shard in owners:
            continue
        owner = usual[shard]
        if load[owner] >= most[owner]:
            owner = min(members, key=lambda member: (load[member] - most[member], member))
        owners[shard] = owner
        load[owner] += 1
    return [owners[shard] for shard in range(shards)]


def _half(count: int) -> int:
    """The largest power of two below a count of two or more."""
    return 1 << (count - 1).bit_length() - 1
