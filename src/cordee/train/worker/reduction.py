"""From gradients of shards to that of the batch: in a fixed order (`exact`), or as it comes (`fast`).

Nothing is added into what a worker has computed, so that it can be done again. On the CPU the sum is under way while
the last shard is computed, where its order does not matter: in `fast` mode, and of two numbers.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import Protocol

import torch
from torch import Tensor

from cordee.train.policy.shards import Node, cover, parent
from cordee.train.worker.early import Bucket, Early
from cordee.train.worker.exchange import Exchange, Piece, Room, Starts
from cordee.train.worker.gradients import Layout
from cordee.train.worker.groups import Group, Summing


class Reduction(Protocol):
    """Keeps what a worker has computed of a step, until that is committed."""

    @property
    def held(self) -> tuple[int, ...]:
        """Shards of this step that are computed."""

    @property
    def sent_bytes(self) -> int:
        """That went to each other member when the last step was reduced."""

    def begin(self, shard: int, *, apart: bool) -> tuple[list[Tensor], bool]:
        """Buffers for the backward pass of a shard, and whether what they hold is of no use; else it is added to that.

        `apart`: they are to hold nothing else yet, as far as that is possible.
        """

    @property
    def loose(self) -> bool:
        """Whether what the shard at hand makes is taken from where it lies, and need not be collected."""

    def ahead(self, group: Group, owners: Sequence[int], members: Sequence[int]) -> None:
        """The shard that was begun is the last one: what its backward pass makes may be summed at once."""

    def watching(self) -> AbstractContextManager[None]:
        """That backward pass is made meanwhile."""

    def end(self, shard: int) -> None:
        """The shard is computed."""

    def lost(self) -> None:
        """The shard that was begun could not be computed. Raises `RuntimeError` where others are told, and gone."""

    def halt(self, free: Callable[[], None]) -> None:
        """Whatever is under way with others is given up. `free`: lets it fail."""

    def forget(self) -> None:
        """What is computed of this step is of no use."""

    def reduce(self, group: Group, owners: Sequence[int], members: Sequence[int]) -> list[Tensor]:
        """The sum over all shards, good until as many steps are reduced as `keep` says."""

    def keep(self, steps: int) -> None:
        """Sums stay as they are while the next ones are made, so many steps long."""

    def added_by(self, ranks: Sequence[int]) -> None:
        """Only these members add up from now on; none: all do."""

    def into(self, room: Room, starts: Starts) -> None:
        """Where sums are to be put, and who is told of them."""

    def reset(self) -> None:
        """The step is committed."""


class Exact:
    """Sums along the tree of `policy.shards`: the same bits whoever computed what."""

    def __init__(self, layout: Layout, shards: int) -> None:
        self._layout, self._shards = layout, shards
        self._nodes: dict[Node, list[Tensor]] = {}
        self._free: list[list[Tensor]] = []
        self._now: list[Tensor] = []
        self._shard = -1
        self._lefts: list[Node] = []
        """To which the shard at hand is added as its buckets are made, the smallest first."""
        self._exchange, self._early = Exchange(layout), Early(layout)

    @property
    def held(self) -> tuple[int, ...]:
        return tuple(sorted(s for node in self._nodes for s in range(node.first, node.end)))

    @property
    def sent_bytes(self) -> int:
        return self._exchange.sent_bytes

    def begin(self, shard: int, *, apart: bool) -> tuple[list[Tensor], bool]:
        self._shard = shard
        above = parent(Node(shard, shard + 1), self._shards)
        if not apart and above is not None and above.halves[1] == Node(shard, shard + 1):
            beside = self._nodes.get(above.halves[0])
            if beside is not None:  # the backward pass itself adds the right half to the left one
                self._now = beside
                return beside, False
        self._now = self._free.pop() if self._free else self._layout.buffers()
        return self._now, True

    @property
    def loose(self) -> bool:
        return bool(self._lefts)

    def ahead(self, group: Group, owners: Sequence[int], members: Sequence[int]) -> None:
        nodes = self._covers(owners, members)
        if isinstance(group, Summing) and self._of_two(nodes):
            lefts = self._lefts_below(nodes[group.rank][0])
            if lefts is not None:
                self._lefts = lefts
                self._early.begin(group, self._exchange.places(1), self._add)

    def watching(self) -> AbstractContextManager[None]:
        return self._early.watching()

    def end(self, shard: int) -> None:
        node, now = self._begun_node(), self._now
        if node != Node(shard, shard + 1):
            del self._nodes[node.halves[0]]
        self._early.rest()
        for left in self._lefts:
            self._free.append(now)
            now, node = self._nodes.pop(left), Node(left.first, node.end)
        if self._lefts:
            self._layout.drop()
        self._lefts = []
        self._nodes[node] = now
        self._merge(node)

    def lost(self) -> None:
        self._free.append(self._now)

    def halt(self, free: Callable[[], None]) -> None:
        self._early.halt(free)

    def forget(self) -> None:
        self._free += self._nodes.values()
        self._nodes = {}

    def _begun_node(self) -> Node:
        """What the buffers of the shard at hand are the sum of."""
        node = Node(self._shard, self._shard + 1)
        above = parent(node, self._shards)
        beside = above is not None and self._nodes.get(above.halves[0]) is self._now
        return above if above is not None and beside else node

    def _lefts_below(self, top: Node) -> list[Node] | None:
        """What the shard at hand is to be added to, until all of `top` is there; None where something else is missing."""
        node, found = self._begun_node(), []
        while node != top:
            above = parent(node, self._shards)
            if above is None or above.halves[1] != node or above.halves[0] not in self._nodes:
                return None
            found.append(above.halves[0])
            node = above
        return found

    def _add(self, bucket: Bucket, into: Sequence[Tensor]) -> None:
        """A bucket of the shard at hand, with all that it is added to."""
        lefts = [self._nodes[left] for left in self._lefts]
        found = self._now
        if lefts and bucket.parameters and self._layout.awaits(found):
            found = lefts.pop(0)
            self._layout.put(bucket.parameters, found, add=True)
        else:
            self._layout.collect(bucket.parameters)
        for left in lefts:
            bucket.of(left).add_(bucket.of(found))
            found = left
        bucket.of(into).copy_(bucket.of(found))

    def _merge(self, node: Node) -> None:
        """Add halves up, as far as both are there."""
        while (above := parent(node, self._shards)) is not None:
            left, right = above.halves
            if left not in self._nodes or right not in self._nodes:
                return
            whole, other = self._nodes.pop(left), self._nodes.pop(right)
            torch._foreach_add_(whole, other)
            self._free.append(other)
            self._nodes[above] = whole
            node = above

    def reduce(self, group: Group, owners: Sequence[int], members: Sequence[int]) -> list[Tensor]:
        nodes = self._covers(owners, members)
        if isinstance(group, Summing) and self._of_two(nodes):
            return self._sum(group, self._nodes[nodes[group.rank][0]])
        mine = [self._nodes[node] for node in nodes[group.rank]]
        flat = [node for member in nodes for node in member]

        def summed(pieces: Sequence[Piece], out: Tensor) -> None:
            _sum(Node(0, self._shards), dict(zip(flat, pieces, strict=True)), out)

        return self._exchange.run(group, mine, [len(n) for n in nodes], summed)

    def _sum(self, group: Summing, own: list[Tensor]) -> list[Tensor]:
        """That of two members, which is the same in each order."""
        if not self._early.begun:
            self._early.begin(group, self._exchange.places(1), partial(_copy, own))
        self._exchange.sent_bytes = self._early.sent_bytes
        self._early.wait()
        return self._early.sum()

    def _covers(self, owners: Sequence[int], members: Sequence[int]) -> list[list[Node]]:
        """What each member gives."""
        shards = [[s for s, owner in enumerate(owners) if owner == member] for member in members]
        return [cover(held, self._shards) for held in shards]

    def _of_two(self, nodes: Sequence[Sequence[Node]]) -> bool:
        """Whether the sum is that of two numbers, each of which is known to be rounded alike everywhere."""
        plain = all(part.dtype in (torch.float32, torch.float64) for part in self._layout.parts)
        return plain and [len(member) for member in nodes] == [1, 1]

    def added_by(self, ranks: Sequence[int]) -> None:
        self._exchange.adders = tuple(ranks)

    def into(self, room: Room, starts: Starts) -> None:
        self._exchange.room, self._exchange.starts, self._early.starts = room, starts, starts

    def keep(self, steps: int) -> None:
        self._exchange.keep(steps)

    def reset(self) -> None:
        self.forget()
        self._exchange.turn()


class Fast:
    """One sum of each worker's shards, added up as it comes."""

    def __init__(self, layout: Layout, shards: int) -> None:
        self._layout = layout
        self._sum = layout.buffers()
        self._shards = shards
        self._held: list[int] = []
        self._empty = True
        """Whether there is nothing of use in the sum."""
        self._exchange, self._early = Exchange(layout), Early(layout)

    @property
    def held(self) -> tuple[int, ...]:
        return tuple(self._held)

    @property
    def sent_bytes(self) -> int:
        return self._exchange.sent_bytes

    def begin(self, shard: int, *, apart: bool) -> tuple[list[Tensor], bool]:
        self._empty = False
        return self._sum, not self._held

    @property
    def loose(self) -> bool:
        return True

    def ahead(self, group: Group, owners: Sequence[int], members: Sequence[int]) -> None:
        if isinstance(group, Summing) and not self._exchange.adders:
            self._early.begin(group, self._exchange.places(1), self._put)

    def watching(self) -> AbstractContextManager[None]:
        return self._early.watching()

    def end(self, shard: int) -> None:
        self._held.append(shard)
        self._early.rest()

    def lost(self) -> None:
        under_way = self._early.begun
        if under_way:
            self._early.rest(wrong=True)
        self.forget()  # part of it may have been added to the others
        if under_way:
            self._early.wait()

    def halt(self, free: Callable[[], None]) -> None:
        self._early.halt(free)

    def forget(self) -> None:
        self._held, self._empty = [], True
        if self._layout.awaits(self._sum):
            self._layout.drop()

    def reduce(self, group: Group, owners: Sequence[int], members: Sequence[int]) -> list[Tensor]:
        if not isinstance(group, Summing) or self._exchange.adders:
            self._layout.collect()
            counts = [int(member in owners) for member in members]
            mine = [self._sum] if counts[group.rank] else []
            return self._exchange.run(group, mine, counts, _added)
        if not self._early.begun:
            self.ahead(group, owners, members)
        self._exchange.sent_bytes = self._early.sent_bytes
        while not self._early.wait():  # someone computes its part again
            self.ahead(group, owners, members)
        return self._early.sum()

    def _put(self, bucket: Bucket, into: Sequence[Tensor]) -> None:
        if self._empty:
            bucket.of(into).zero_()
        elif bucket.parameters and self._layout.awaits(self._sum):
            self._layout.put(bucket.parameters, into)
        else:
            bucket.of(into).copy_(bucket.of(self._sum))

    def mean(self) -> list[Tensor]:
        """Over the shards of this worker alone."""
        self._layout.collect()
        for buffer in self._sum:
            buffer.mul_(self._shards / len(self._held))
        return self._sum

    def added_by(self, ranks: Sequence[int]) -> None:
        self._exchange.adders = tuple(ranks)

    def into(self, room: Room, starts: Starts) -> None:
        self._exchange.room, self._exchange.starts, self._early.starts = room, starts, starts

    def keep(self, steps: int) -> None:
        self._exchange.keep(steps)

    def reset(self) -> None:
        self.forget()
        self._exchange.turn()


def _copy(own: Sequence[Tensor], bucket: Bucket, into: Sequence[Tensor]) -> None:
    bucket.of(into).copy_(bucket.of(own))


def _sum(node: Node, pieces: Mapping[Node, Piece], out: Tensor | None = None) -> Piece:
    """Of a node, from those nodes that are there; into `out`, or one of them."""
    found = pieces.get(node)
    if found is not None:
        return found if out is None else (out.copy_(found[0]), True)
    (left, may_left), (right, may_right) = (_sum(half, pieces) for half in node.halves)
    if out is None and (may_left or may_right):
        out = left if may_left else right
    return torch.add(left, right, out=out), True


def _added(pieces: Sequence[Piece], out: Tensor) -> None:
    first, *others = (piece for piece, _ in pieces)
    if others:
        torch.add(first, others.pop(0), out=out)
    else:
        out.copy_(first)
    for piece in others:
        out.add_(piece)
