"""Weak links: workers train by themselves, and in rounds exchange how far they have come, a fragment at a time.

After Streaming DiLoCo (arXiv:2501.18512). The parameters are cut into fragments; each round exchanges one of them
while training goes on. How many steps lie between two exchanges of a fragment follows from how far apart workers
are found to be, and from what the link carries. All members decide by the same numbers, and so alike.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from cordee.core.errors import UsageError

CHANGE_MOST = 1.25
"""From one round to the next, the number of steps is changed by no more than this factor, or by one step."""
LINK_MOST = 0.8
"""So much of the time the link may be in use: more, and workers would wait for it."""
FAR_TIMES = 5.0
"""Where a link is slow workers may be so many times as far from each other as is wanted, if it allows no less: early in
training steps are long, and become shorter."""
ALL = -1
"""The number of the fragment that is the whole model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cadence:
    """How often workers with weak links exchange what, and what is made of it."""

    warmup: int = 100
    """Steps at the beginning that are made together: early in training, averages of models are bad models."""
    fragments: int = 4
    """The parameters are exchanged in so many parts, one after another."""
    steps: int = 16
    """From one exchange of a fragment to the next, at first."""
    least: int = 8
    most: int = 256
    """Bounds of it."""
    apart: float = 0.01
    """How far workers are to be from their mean when they meet, as a share of the length of the parameters."""
    rate: float = 0.7
    momentum: float = 0.5
    """Of the outer step, which is Nesterov's; 1 and 0 are plain averaging."""

    def __post_init__(self) -> None:
        """Raises `UsageError` where a number makes no sense."""
        for name in ("fragments", "least"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} is {getattr(self, name)}: it is one at least")
        if self.warmup < 0:
            raise UsageError(f"warmup is {self.warmup}: it is zero at least")
        if not self.least <= self.steps <= self.most:
            raise UsageError(
                f"steps is {self.steps}: it lies between least, {self.least}, and most, {self.most}"
            )
        if self.apart <= 0 or self.rate <= 0 or not 0 <= self.momentum < 1:
            raise UsageError("apart and rate are above 0, and momentum is from 0 to below 1")

    @property
    def every(self) -> int:
        """Steps from one round to the next, at first."""
        return self.every_of(self.steps)

    def every_of(self, steps: int) -> int:
        """Steps from one round to the next, with so many between two exchanges of a fragment."""
        return max(1, round(steps / self.fragments))


@dataclass(frozen=True, slots=True)
class Stray:
    """What a member has found out about training by itself."""

    steps: int = 0
    """So many are to lie between two exchanges, as far as it strays from the others; 0: it is too far after one."""
    size_bytes: int = 0
    """What it would send to each of them in that time."""
    gradient_bytes: int = 0
    """Of the gradient that is summed in each step, as long as steps are made together."""


@dataclass(frozen=True, slots=True)
class Said:
    """What a member says of itself in a round, beside its part of the model."""

    fragment: int
    shards: int
    """That it has computed since this fragment was exchanged: its weight."""
    apart: float
    """How far from their mean it found the members in the round before; 0: it was not there."""
    exchange_s: float
    """How long the exchange before took."""
    step_s: float
    loss: float
    """The mean over those shards."""


def fragment_of(number: int, cadence: Cadence) -> int:
    """Which fragment is exchanged in a round."""
    return number % cadence.fragments


def every_next(cadence: Cadence, every: int, said: Sequence[Said]) -> int:
    """Steps from this round to the next: fewer where members drift apart, more where the link is slow.

    The drift is that which the first member has measured: others may differ in the last bit.
    """
    wanted = float(every)
    found = next((one.apart for one in said if one.apart > 0), 0.0)
    if found > 0:
        # A whole step at least, for where there are few the factor alone would be rounded away each time.
        fewest = min(every / CHANGE_MOST, every - 1)
        most = max(every * CHANGE_MOST, every + 1)
        wanted = max(fewest, min(every * cadence.apart / found, most))
    step_s = max(one.step_s for one in said)
    if step_s > 0:
        carried = max(one.exchange_s for one in said) / step_s / LINK_MOST
        wanted = max(wanted, carried)
    steps = min(max(wanted * cadence.fragments, cadence.least), cadence.most)
    return max(1, round(steps / cadence.fragments))


def steps_apart(cadence: Cadence, drift: float) -> int:
    """So many steps are to lie between two exchanges where one step of its own takes a worker so far from the others.

    Each step was seen to add as much as the first one. 0: with FAR_TIMES as many it is too far.
    """
    steps = cadence.apart / drift if drift > 0 else math.inf
    enough = FAR_TIMES * steps >= cadence.least
    return max(1, math.floor(min(steps, cadence.most))) if enough else 0


def steps_between(strays: Sequence[Stray], bytes_per_s: float, step_s: float) -> int:
    """Steps between two exchanges, where members train by themselves because of a link that carries so much.

    As many as their drift asks for, or as the link needs; 0 where that is FAR_TIMES as many.
    """
    wanted = min((stray.steps for stray in strays), default=0)
    if not wanted or bytes_per_s <= 0 or step_s <= 0:
        return 0
    needed = max(stray.size_bytes for stray in strays) / bytes_per_s / step_s / LINK_MOST
    return max(wanted, math.ceil(needed)) if needed <= FAR_TIMES * wanted else 0


def weights(said: Sequence[Said]) -> list[float]:
    """What each member's part counts: as much as it has computed."""
    whole = sum(one.shards for one in said)
    return [one.shards / whole if whole else 0.0 for one in said]
