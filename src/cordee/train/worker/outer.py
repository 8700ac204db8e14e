"""What all members of a job with weak links share: the parameters that they agreed on last, and the outer optimizer."""

import struct
from collections.abc import Sequence
from dataclasses import astuple
from typing import Any

import torch
from torch import Tensor, nn

from cordee.core.errors import UsageError
from cordee.train.policy.rounds import ALL, Cadence, Said, every_next, weights
from cordee.train.worker.quantised import GROUP, packed, size_bytes, unpacked

HEAD = struct.Struct("<iidddd")


class Outer:
    """The outer state: equal on all members after the same rounds."""

    def __init__(
        self, parameters: Sequence[nn.Parameter], cadence: Cadence, kept: dict[str, Tensor]
    ) -> None:
        """`kept` takes the tensors of the state: it is sent to who joins."""
        for parameter in parameters:
            if not parameter.is_contiguous():
                raise UsageError(f"a parameter of shape {list(parameter.shape)} is not contiguous")
        self.cadence, self._kept = cadence, kept
        self.made = 0
        """Steps of the program that are made."""
        self.first = 0
        """The step after which workers went their own ways."""
        self.due = self.every = 0
        """The step at which the next round begins, and after how many more it ends."""
        self.closed = False
        """Whether the last round of all is over: all workers have the same parameters again."""
        self._flat = [parameter.detach().view(-1) for parameter in parameters]
        self.numbers = sum(part.numel() for part in self._flat)

    @property
    def on(self) -> bool:
        """Whether workers are past what they do together."""
        return "reference" in self._kept

    @property
    def steps(self) -> int:
        """From one exchange of a fragment to the next; 0: workers do not go their own ways."""
        return self.every * self.cadence.fragments if self.on else 0

    def begin(self, made: int, steps: int) -> None:
        """From now on, workers go their own ways, at first with so many steps from one exchange to the next."""
        self._kept["reference"] = self.here(ALL)
        self._kept["momentum"] = torch.zeros_like(self._kept["reference"])
        self.first, self.made = made, made
        self.every = self.cadence.every_of(steps)
        self.due = made + self.every

    def here(self, fragment: int) -> Tensor:
        """[n] float32: a copy of the parameters as they are on this worker."""
        pieces = [piece.float() for piece in self._pieces(fragment)]
        return torch.cat(pieces) if len(pieces) != 1 else pieces[0].clone()

    def agreed(self, fragment: int) -> Tensor:
        """[n] float32: the parameters that were agreed on last. To be read only."""
        return self._kept["reference"][self.range_of(fragment)]

    def add(self, fragment: int, difference: Tensor) -> None:
        """Move the parameters of this worker."""
        at = 0
        for piece in self._pieces(fragment):
            piece.add_(difference[at : at + piece.numel()].to(piece.dtype))
            at += piece.numel()

    def settle(self) -> None:
        """The parameters of this worker become those that were agreed on."""
        at = 0
        for piece in self._flat:
            piece.copy_(self._kept["reference"][at : at + piece.numel()])
            at += piece.numel()

    def merge(self, parts: Sequence[Tensor]) -> tuple[list[Said], float]:
        """The outer step of a round from what all members sent; gives what they said, and how far apart they are."""
        said, ways = [], []
        for part in parts:
            one = said_in(part)
            numbers = self.range_of(one.fragment)
            count = numbers.stop - numbers.start
            said.append(one)
            ways.append(unpacked(part[HEAD.size :], count).to(self._kept["reference"].device))
        fragment = said[0].fragment
        mean = torch.zeros_like(ways[0])
        shares = weights(said)
        for share, way in zip(shares, ways, strict=True):
            mean.add_(way, alpha=share)
        length = float(torch.linalg.vector_norm(self.agreed(fragment)))
        square = sum(
            share * float((way - mean).square().sum())
            for share, way in zip(shares, ways, strict=True)
        )
        self._step(fragment, mean)
        self.closed = fragment == ALL
        self.due += self.every
        self.every = every_next(self.cadence, self.every, said)
        return said, square**0.5 / length if length else 0.0

    def _step(self, fragment: int, mean: Tensor) -> None:
        reference = self.agreed(fragment)
        if fragment == ALL:  # the end: where the workers are, and not ahead of it
            reference.sub_(mean)
            return
        momentum = self._kept["momentum"][self.range_of(fragment)]
        momentum.mul_(self.cadence.momentum).add_(mean)
        reference.sub_(mean.add(momentum, alpha=self.cadence.momentum), alpha=self.cadence.rate)

    def range_of(self, fragment: int) -> slice:
        """Where a fragment lies among all parameters."""
        if fragment == ALL:
            return slice(0, self.numbers)
        size = -(-self.numbers // self.cadence.fragments)
        size += -size % GROUP
        return slice(min(self.numbers, fragment * size), min(self.numbers, (fragment + 1) * size))

    def _pieces(self, fragment: int) -> list[Tensor]:
        wanted, at, found = self.range_of(fragment), 0, []
        for part in self._flat:
            first, end = max(wanted.start - at, 0), min(wanted.stop - at, part.numel())
            if first < end:
                found.append(part[first:end])
            at += part.numel()
        return found or [self._flat[0][:0]]

    # As part of what is sent to who joins.

    def state_dict(self) -> dict[str, Any]:
        names = ("first", "made", "due", "every", "closed")
        return {name: getattr(self, name) for name in names}

    def load_state_dict(self, state: dict[str, Any], /) -> None:
        for name, value in state.items():
            setattr(self, name, value)


def part_of(said: Said, way: Tensor) -> tuple[Tensor, Tensor]:
    """What a member sends in a round, and what of its way the four bits have lost."""
    small = packed(way)
    lost = way - unpacked(small, way.numel())
    head = torch.frombuffer(bytearray(HEAD.pack(*astuple(said))), dtype=torch.uint8)
    return torch.cat([head, small.cpu()]), lost


def said_in(part: Tensor) -> Said:
    """What the member said."""
    return Said(*HEAD.unpack(bytes(part[: HEAD.size].numpy())))


def part_bytes(numbers: int) -> int:
    """Of what a member sends for so many parameters."""
    return HEAD.size + size_bytes(numbers)
