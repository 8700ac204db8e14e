"""From gradients of shards to that of the batch: in a fixed order (`exact`), or as it comes (`fast`).

Both bring the same number of bytes over the links as a ring all-reduce does: each member adds up one piece of the
gradient and gives it to all others. Nothing is added into what a worker has computed, so that it can be done again.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Protocol

import torch
from torch import Tensor

from cordee.train.policy.shards import Node, cover, parent
from cordee.train.worker.gradients import Layout
from cordee.train.worker.groups import Group

Room = Callable[[], Sequence[Tensor] | None]


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

    def end(self, shard: int) -> None:
        """The shard is computed."""

    def lost(self) -> None:
        """The shard that was begun could not be computed."""

    def forget(self) -> None:
        """What is computed of this step is of no use."""

    def reduce(self, group: Group, owners: Sequence[int], members: Sequence[int]) -> list[Tensor]:
        """The sum over all shards, good until as many steps are reduced as `keep` says."""

    def keep(self, steps: int) -> None:
        """Sums stay as they are while the next ones are made, so many steps long."""

    def into(self, room: Room) -> None:
        """Where sums are to be put."""

    def reset(self) -> None:
        """The step is committed."""


class Exact:
    """Sums along the tree of `policy.shards`: the same bits whoever computed what."""

    def __init__(self, layout: Layout, shards: int) -> None:
        self._layout, self._shards = layout, shards
        self._nodes: dict[Node, list[Tensor]] = {}
        self._free: list[list[Tensor]] = []
        self._now: list[Tensor] = []
        self._exchange = _Exchange(layout)

    @property
    def held(self) -> tuple[int, ...]:
        return tuple(sorted(s for node in self._nodes for s in range(node.first, node.end)))

    @property
    def sent_bytes(self) -> int:
        return self._exchange.sent_bytes

    def begin(self, shard: int, *, apart: bool) -> tuple[list[Tensor], bool]:
        above = parent(Node(shard, shard + 1), self._shards)
        if not apart and above is not None and above.halves[1] == Node(shard, shard + 1):
            beside = self._nodes.get(above.halves[0])
            if beside is not None:  # the backward pass itself adds the right half to the left one
                self._now = beside
                return beside, False
        self._now = self._free.pop() if self._free else self._layout.buffers()
        return self._now, True

    def end(self, shard: int) -> None:
        node = Node(shard, shard + 1)
        above = parent(node, self._shards)
        if above is not None and self._nodes.get(above.halves[0]) is self._now:
            del self._nodes[above.halves[0]]
            node = above
        self._nodes[node] = self._now
        self._merge(node)

    def lost(self) -> None:
        self._free.append(self._now)

    def forget(self) -> None:
        self._free += self._nodes.values()
        self._nodes = {}

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
        nodes = [
            cover([s for s, owner in enumerate(owners) if owner == member], self._shards)
            for member in members
        ]
        mine = [self._nodes[node] for node in nodes[group.rank]]
        flat = [node for member in nodes for node in member]

        def summed(pieces: Sequence[Piece], out: Tensor) -> None:
            _sum(Node(0, self._shards), dict(zip(flat, pieces, strict=True)), out)

        return self._exchange.run(group, mine, [len(n) for n in nodes], summed)

    def into(self, room: Room) -> None:
        self._exchange.room = room

    def keep(self, steps: int) -> None:
        self._exchange.keep(steps)

    def reset(self) -> None:
        self.forget()
        self._exchange.turn()


class Fast:
    """One sum of each worker's shards, added up in the order of members."""

    def __init__(self, layout: Layout, shards: int) -> None:
        self._sum = layout.buffers()
        self._shards = shards
        self._held: list[int] = []
        self._exchange = _Exchange(layout)

    @property
    def held(self) -> tuple[int, ...]:
        return tuple(self._held)

    @property
    def sent_bytes(self) -> int:
        return self._exchange.sent_bytes

    def begin(self, shard: int, *, apart: bool) -> tuple[list[Tensor], bool]:
        return self._sum, not self._held

    def end(self, shard: int) -> None:
        self._held.append(shard)

    def lost(self) -> None:
        self.forget()  # part of it may have been added to the others

    def forget(self) -> None:
        self._held = []

    def reduce(self, group: Group, owners: Sequence[int], members: Sequence[int]) -> list[Tensor]:
        counts = [int(member in owners) for member in members]
        mine = [self._sum] if counts[group.rank] else []
        return self._exchange.run(group, mine, counts, _added)

    def mean(self) -> list[Tensor]:
        """Over the shards of this worker alone."""
        for buffer in self._sum:
            buffer.mul_(self._shards / len(self._held))
        return self._sum

    def into(self, room: Room) -> None:
        self._exchange.room = room

    def keep(self, steps: int) -> None:
        self._exchange.keep(steps)

    def reset(self) -> None:
        self.forget()
        self._exchange.turn()


Piece = tuple[Tensor, bool]
"""And whether it may be added into: what this worker has computed may not."""


class _Summed(Protocol):
    def __call__(self, pieces: Sequence[Piece], out: Tensor, /) -> None:
        """The sum of pieces into `out`."""


class _Exchange:
    """Brings buffers of all members together; its own buffers are used again in every step."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._kept: dict[tuple[int, str], Tensor] = {}
        self._turn, self._turns = 0, 2
        self.room: Room = lambda: None
        """Where sums are put, if not in a buffer of its own."""
        self.sent_bytes = 0
        """To each other member, in the last run."""

    def keep(self, steps: int) -> None:
        self._turns = steps + 1
        for place, name in list(self._kept):
            if name.startswith("whole ") and int(name.split()[1]) > steps:
                del self._kept[place, name]

    def turn(self) -> None:
        """The sum is still needed: the next one goes elsewhere."""
        self._turn = (self._turn + 1) % self._turns

    def run(
        self,
        group: Group,
        mine: Sequence[Sequence[Tensor]],
        counts: Sequence[int],
        summed: _Summed,
    ) -> list[Tensor]:
        """`mine`: own buffers, `counts` of them from each member; gives their sum, part by part."""
        made = []
        room = self.room()
        self.sent_bytes = 0
        for place, part in enumerate(self._layout.parts):
            size = -(-part.numbers // group.size)
            cut = [buffers[place][: group.size * size].view(group.size, size) for buffers in mine]
            sent = cut[0] if len(cut) == 1 else self._stacked(place, cut, group.size, size)
            got = self._buffer(place, "got", sum(counts) * size)
            received = [count * size for count in counts]
            parts = group.all_to_all(sent.reshape(-1), got, received, len(cut) * size)
            numbers = group.size * size
            own = room[place][:numbers] if room is not None else None
            whole = self._buffer(place, f"whole {self._turn}", numbers) if own is None else own
            total = whole[group.rank * size :][:size]
            summed([(p, r != group.rank) for r, p in _cut(parts, size)], total)
            group.all_gather(total, whole)
            self.sent_bytes += (len(cut) + 1) * size * total.element_size()
            made.append(whole)
        return made

    def _stacked(self, place: int, cut: Sequence[Tensor], ranks: int, size: int) -> Tensor:
        out = self._buffer(place, "sent", len(cut) * ranks * size).view(ranks, len(cut), size)
        return torch.stack(list(cut), dim=1, out=out) if cut else out

    def _buffer(self, place: int, name: str, numbers: int) -> Tensor:
        kept = self._kept.get((place, name))
        if kept is None or kept.numel() < numbers:
            part = self._layout.parts[place]
            kept = torch.empty(numbers, dtype=part.dtype, device=part.device)
            self._kept[place, name] = kept
        return kept[:numbers]


def _cut(parts: Sequence[Tensor], size: int) -> Iterator[tuple[int, Tensor]]:
    """What came from each rank, in pieces."""
    for rank, part in enumerate(parts):
        for piece in part.split(size) if part.numel() else ():
            yield rank, piece


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
