"""Brings what members have of a gradient together: each adds up one piece of it and gives that to all others.

It brings the same number of bytes over the links as a ring all-reduce does. Where only some add up, the others send
each other nothing.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import torch
from torch import Tensor

from cordee.train.worker.gradients import Layout
from cordee.train.worker.groups import Group

Room = Callable[[], Sequence[Tensor] | None]
Starts = Callable[[int], None]
"""Told when a bucket of the gradient, or a part of it, is about to be summed: its number."""
Piece = tuple[Tensor, bool]
"""And whether it may be added into: what this worker has computed may not."""


class Summed(Protocol):
    def __call__(self, pieces: Sequence[Piece], out: Tensor, /) -> None:
        """The sum of pieces into `out`."""


class Exchange:
    """Brings buffers of all members together; its own buffers are used again in every step."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._kept: dict[tuple[int, str], Tensor] = {}
        self._turn, self._turns = 0, 2
        self.room: Room = lambda: None
        """Where sums are put, if not in a buffer of its own."""
        self.starts: Starts = lambda part: None
        self.sent_bytes = 0
        """To each other member that gets anything, in the last run, on average."""
        self.adders: tuple[int, ...] = ()
        """The ranks that add up; none: all do."""

    def keep(self, steps: int) -> None:
        """Sums stay as they are while the next ones are made, so many steps long."""
        self._turns = steps + 1
        self._turn %= self._turns
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
        summed: Summed,
    ) -> list[Tensor]:
        """`mine`: own buffers, `counts` of them from each member; gives their sum, part by part."""
        self.sent_bytes = 0
        made: list[Tensor] = []
        into = self.places(group.size)
        adders = self.adders or tuple(range(group.size))
        own = adders.index(group.rank) if group.rank in adders else None
        for place, part in enumerate(self._layout.parts):
            self.starts(place)
            size = -(-part.numbers // len(adders))
            cut = [buffers[place][: len(adders) * size].view(len(adders), size) for buffers in mine]
            sent = cut[0] if len(cut) == 1 else self._stacked(place, cut, len(adders), size)
            received = [count * size if own is not None else 0 for count in counts]
            got = self._buffer(place, "got", sum(received))
            given = [len(cut) * size if r in adders else 0 for r in range(group.size)]
            parts = group.all_to_all(sent.reshape(-1), got, received, given)
            whole = into[place][: len(adders) * size]
            total = whole[:0] if own is None else whole[own * size :][:size]
            if own is not None:
                summed([(p, r != group.rank) for r, p in _cut(parts, size)], total)
            group.all_gather(total, whole, self.adders)
            self.sent_bytes += self._sent_bytes(group, given, total)
            made.append(whole)
        return made

    def _sent_bytes(self, group: Group, given: Sequence[int], total: Tensor) -> int:
        """To each other member that gets anything, on average."""
        others = [count for rank, count in enumerate(given) if rank != group.rank]
        reached = len(others) if total.numel() else sum(count > 0 for count in others)
        numbers = sum(others) + total.numel() * reached
        return numbers * total.element_size() // max(1, reached)

    def places(self, more: int) -> list[Tensor]:
        """Where the next sum is put, part by part, with room for so many numbers more."""
        room = self.room()
        if room is not None:
            return list(room)
        return [
            self._buffer(place, f"whole {self._turn}", part.numbers + more)
            for place, part in enumerate(self._layout.parts)
        ]

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
