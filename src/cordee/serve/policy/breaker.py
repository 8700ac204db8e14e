"""When a replica that fails is left alone, and when it is tried again (circuit breaking)."""

from dataclasses import dataclass
from typing import Literal

FAILURES = 3
"""So many in a row open the circuit."""
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 30.0


@dataclass(slots=True)
class Breaker:
    """The circuit to one replica. Times are seconds on any clock that only goes forward."""

    failures: int = 0
    pause_s: float = 0.0
    opened_s: float = 0.0
    trying: bool = False

    def state(self, now_s: float) -> Literal["closed", "open", "half-open"]:
        """Open: leave it alone. Half open: one request may try."""
        if self.failures < FAILURES:
            return "closed"
        return "open" if now_s < self.opened_s + self.pause_s else "half-open"

    def allows(self, now_s: float) -> bool:
        """Whether a request may go there now."""
        state = self.state(now_s)
        return state == "closed" or (state == "half-open" and not self.trying)

    def begin(self, now_s: float) -> None:
        """A request goes there."""
        self.trying = self.state(now_s) == "half-open"

    def left(self) -> None:
        """A request went away: where it was the one that tried, another one may."""
        self.trying = False

    def succeeded(self) -> None:
        """It gave a token."""
        if self.failures:
            self.failures, self.pause_s, self.trying = 0, 0.0, False

    def failed(self, now_s: float) -> None:
        """It broke off, or gave nothing. All that it had breaks off at once: that counts as one."""
        if self.state(now_s) == "open":
            return
        self.failures += 1
        self.trying = False
        if self.failures >= FAILURES:
            self.pause_s = min(LONGEST_PAUSE_S, max(FIRST_PAUSE_S, 2 * self.pause_s))
            self.opened_s = now_s
