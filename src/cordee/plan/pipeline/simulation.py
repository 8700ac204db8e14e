"""A pipeline pass by pass: each starts when what it needs is there and its chip is free.

It is what the formulas in `bubbles` are compared with; plans are made by the formulas, which take no time.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cordee.core.errors import CordeeError
from cordee.plan.pipeline.bubbles import Seconds

FORWARD, INPUTS, WEIGHTS = "forward", "inputs", "weights"
"""Kinds of passes, named as in `Seconds`."""


@dataclass(frozen=True, slots=True)
class One:
    """One pass of a micro-batch through a chunk of layers."""

    kind: str
    chunk: int
    """Counted in the order in which tokens pass through them."""
    batch: int


Turn = tuple[One, ...]
"""Passes that a chip does as one; a forward and a backward pass save something so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """What became of it, chip by chip."""

    first_s: Sequence[float]
    """When the first pass began."""
    last_s: Sequence[float]
    """When the last one ended."""

    @property
    def whole_s(self) -> float:
        """From the first pass of any chip to the last one of any."""
        return max(self.last_s) - min(self.first_s)

    @property
    def longest_s(self) -> float:
        """Of the chip that takes longest from its own first pass to its own last one."""
        return max(last - first for first, last in zip(self.first_s, self.last_s, strict=True))


class Stuck(CordeeError):
    """An order in which some pass waits for ever."""


def run(orders: Sequence[Sequence[Turn]], seconds: Sequence[Seconds], send_s: float = 0.0) -> Ran:
    """Carry out every chip's turns in their order: `seconds` are those of each chunk, `send_s` between chips.

    Raises `Stuck` where the orders do not go together.
    """
    ended: dict[One, float] = {}
    home = {one.chunk: chip for chip, turns in enumerate(orders) for turn in turns for one in turn}
    sends = [send_s if home[n] != home[n + 1] else 0.0 for n in range(len(seconds) - 1)]
    at, free, first = [0] * len(orders), [0.0] * len(orders), [0.0] * len(orders)
    moved = True
    while moved:
        moved = False
        for chip, turns in enumerate(orders):
            while at[chip] < len(turns):
                turn = turns[at[chip]]
                ready = _ready(turn, ended, sends)
                if ready is None:
                    break
                start = max(ready, free[chip])
                first[chip] = first[chip] if at[chip] else start
                free[chip] = start + _takes(turn, seconds)
                ended.update(dict.fromkeys(turn, free[chip]))
                at[chip] += 1
                moved = True
    for chip, turns in enumerate(orders):
        if at[chip] < len(turns):
            raise Stuck(f"chip {chip} waits for ever before {turns[at[chip]]}")
    return Ran(first_s=first, last_s=free)


def _takes(turn: Turn, seconds: Sequence[Seconds]) -> float:
    found: float = sum(getattr(seconds[one.chunk], one.kind) for one in turn)
    kinds = {one.kind for one in turn}
    paired = FORWARD in kinds and len(kinds) > 1
    return found - (min(seconds[one.chunk].saved for one in turn) if paired else 0.0)


def _ready(turn: Turn, ended: Mapping[One, float], sends: Sequence[float]) -> float | None:
    """When all that a turn needs from before it is there; None where that is not known yet."""
    ready = 0.0
    for one in turn:
        for before, send_s in _needs(one, sends):
            if before in turn:
                continue
            if before not in ended:
                return None
            ready = max(ready, ended[before] + send_s)
    return ready


def _needs(one: One, sends: Sequence[float]) -> Sequence[tuple[One, float]]:
    chunk, batch = one.chunk, one.batch
    if one.kind == FORWARD:
        return ((One(FORWARD, chunk - 1, batch), sends[chunk - 1]),) if chunk else ()
    own = One(FORWARD if one.kind == INPUTS else INPUTS, chunk, batch), 0.0
    if one.kind == WEIGHTS or chunk == len(sends):
        return (own,)
    return own, (One(INPUTS, chunk + 1, batch), sends[chunk])


def peak(turns: Sequence[Turn], late: float) -> float:
    """Most that a chip keeps at once, in passes of one chunk.

    A forward pass keeps one until gradients of its inputs are there, and `late` of one until those of weights are.
    """
    now = most = 0.0
    steps = {FORWARD: 1.0, INPUTS: late - 1.0, WEIGHTS: -late}
    for turn in turns:
        for one in turn:
            now += steps[one.kind]
            most = max(most, now if one.kind == FORWARD else 0.0)
        most = max(most, now)
    return most
