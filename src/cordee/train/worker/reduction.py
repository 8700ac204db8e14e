"""From gradients of shards to that of the batch: in a fixed order (`exact`), or by an all-reduce (`fast`)."""

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from cordee.train.policy.shards import Node, cover, parent
from cordee.train.worker.gradients import Layout
from cordee.train.worker.groups import Group


class Reduction(Protocol):
    """Keeps what a worker has computed of a step, until that is committed."""

    @property
    def held(self) -> tuple[int, ...]:
        """Shards of this step that are computed."""

    def begin(self, shard: int) -> list[Tensor]:
        """Buffers for the backward pass of a shard."""

    def end(self, shard: int) -> None:
        """The shard is computed."""

    def reduce(self, group: Group, owners: Sequence[int], members: Sequence[int]) -> list[Tensor]:
        """The mean over all shards. What is held stays as it is, so that it can be done again."""

    def reset(self) -> None:
        """The step is committed."""


class Exact:
    """Sums along the tree of `policy.shards`: the same bits whoever computed what."""

    def __init__(self, layout: Layout, shards: int) -> None:
        self._layout, self._shards = layout, shards
        self._nodes: dict[Node, list[Tensor]] = {}
        self._free: list[list[Tensor]] = []
        self._now: list[Tensor] = []

    @property
    def held(self) -> tuple[int, ...]:
        return tuple(sorted(s for node in self._nodes for s in range(node.first, node.end)))

    def begin(self, shard: int) -> list[Tensor]:
        if self._free:
            self._now = self._free.pop()
            for buffer in self._now:
                buffer.zero_()
        else:
            self._now = self._layout.buffers()
        return self._now

    def end(self, shard: int) -> None:
        node = Node(shard, shard + 1)
        self._nodes[node] = self._now
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
        return [
            self._part(group, [buffers[place] for buffers in mine], nodes, part.numbers, part.dtype)
            for place, part in enumerate(self._layout.parts)
        ]

    def _part(
        self,
        group: Group,
        mine: list[Tensor],
        nodes: list[list[Node]],
        numbers: int,
        dtype: torch.dtype,
    ) -> Tensor:
        """Each member adds up one piece of the buffer, and all get all pieces."""
        size = -(-numbers // group.size)
        if mine:
            cut = [buffer[: group.size * size].view(group.size, size) for buffer in mine]
            sent = torch.stack(cut, dim=1) if len(cut) > 1 else cut[0]
        else:
            sent = torch.empty(0, dtype=dtype, device=self._layout.parts[0].device)
        got = group.all_to_all(sent.reshape(-1), [len(n) * size for n in nodes], len(mine) * size)
        pieces = got.split(size) if got.numel() else ()
        flat = [node for member in nodes for node in member]
        total = _sum(Node(0, self._shards), dict(zip(flat, pieces, strict=True)))
        return group.all_gather(total.div_(self._shards))

    def reset(self) -> None:
        self._free += self._nodes.values()
        self._nodes = {}


class Fast:
    """One sum of a worker's shards, and an all-reduce."""

    def __init__(self, layout: Layout, shards: int) -> None:
        self._layout, self._shards = layout, shards
        self._sum = layout.buffers()
        self._held: list[int] = []

    @property
    def held(self) -> tuple[int, ...]:
        return tuple(self._held)

    def begin(self, shard: int) -> list[Tensor]:
        return self._sum

    def end(self, shard: int) -> None:
        self._held.append(shard)

    def reduce(self, group: Group, owners: Sequence[int], members: Sequence[int]) -> list[Tensor]:
        made = [buffer.clone() for buffer in self._sum]
        for buffer in made:
            group.all_reduce(buffer)
            buffer.div_(self._shards)
        return made

    def mean(self) -> list[Tensor]:
        """Over the shards of this worker alone."""
        for buffer in self._sum:
            buffer.div_(len(self._held))
        return self._sum

    def reset(self) -> None:
        self._held = []
        for buffer in self._sum:
            buffer.zero_()


def _sum(node: Node, pieces: dict[Node, Tensor]) -> Tensor:
    """Of a node, from those nodes that are there. Adds into them."""
    found = pieces.get(node)
    if found is not None:
        return found
    left, right = node.halves
    return _sum(left, pieces).add_(_sum(right, pieces))
