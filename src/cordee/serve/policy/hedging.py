"""When a first token is so late that a second replica is asked too (Dean and Barroso, The Tail at Scale, 2013)."""

from collections.abc import Sequence
from dataclasses import dataclass, field

ENOUGH = 50
"""First tokens that must have been seen before any is called late."""
LATEST_S = 10.0
"""A first token is late after so long in any case."""
BURST = 4.0
"""So many second requests may follow one another, where none was needed for long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Late:
    """From when on a first token is late."""

    quantile: float = 0.95
    """Of the first tokens of late..."""
    factor: float = 1.5
    """...and so many times as long."""
    least_s: float = 0.05

    def after_s(self, first_tokens_s: Sequence[float]) -> float | None:
        """How long to wait for a first token. None: too few were seen to say."""
        if len(first_tokens_s) < ENOUGH:
            return None
        ordered = sorted(first_tokens_s)
        usual_s = ordered[int(self.quantile * (len(ordered) - 1))]
        return min(LATEST_S, max(self.least_s, self.factor * usual_s))


@dataclass(slots=True)
class Budget:
    """Second requests are a small share of the first ones, so that a slow fleet is not made slower."""

    share: float
    level: float = field(default=1.0)

    def earn(self) -> None:
        """A request begins."""
        self.level = min(BURST, self.level + self.share)

    def spend(self) -> bool:
        """Whether one more may be asked twice; it counts."""
        if self.level < 1:
            return False
        self.level -= 1
        return True
