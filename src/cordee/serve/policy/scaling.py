"""How many replicas a pool is to have: more at once when they are needed, fewer when they were not for long.

The rule is that of Kubernetes' HorizontalPodAutoscaler with its stabilisation window:
kubernetes.io/docs/tasks/run-application/horizontal-pod-autoscale
"""

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a pool's replicas are to bear, and how many they may be."""

    min: int = 1
    max: int = 1
    requests: float = 8.0
    """So many each, those under way and those that wait."""
    cache: float = 0.8
    """The share of its cache that each has in use."""
    first_token_s: float = 0.0
    """One more where 95 % of the clients wait longer for their first token; 0: never for that."""
    grow_s: float = 15.0
    """After a growth so long until the next: what was started is to be ready and to count."""
    shrink_s: float = 300.0
    """So long fewer must be enough before there are fewer."""


@dataclass(frozen=True, slots=True)
class Load:
    """What a pool bears now."""

    ready: int
    requests: int
    """Under way or waiting."""
    cache_used: float = 0.0
    """The mean share over those that are ready."""
    first_token_s: float | None = None


def needed(load: Load, limits: Limits, number: int) -> tuple[int, str]:
    """How many would be right for this load where there are `number`, and for what reason."""
    reasons = [
        (math.ceil(load.requests / limits.requests), f"{load.requests} requests"),
        (math.ceil(load.ready * load.cache_used / limits.cache), f"cache {load.cache_used:.0%}"),
    ]
    late = load.first_token_s
    if limits.first_token_s and late is not None and load.requests and late > limits.first_token_s:
        reasons.append((number + 1, f"first tokens after {late:.2f} s"))
    most, why = max(reasons, key=lambda reason: reason[0])
    return min(limits.max, max(limits.min, most)), why


@dataclass(slots=True)
class Scaler:
    """Follows the load of one pool. Times are seconds on any clock that only goes forward."""

    limits: Limits
    number: int
    reason: str = ""
    """Why it is not what it was before."""
    _grown_s: float | None = None
    _began_s: float | None = None
    _needed: deque[tuple[float, int]] = field(default_factory=deque)

    def wanted(self, load: Load, now_s: float) -> int:
        """How many replicas there are to be."""
        limits = self.limits
        need, why = needed(load, limits, self.number)
        self._began_s = now_s if self._began_s is None else self._began_s
        self._needed.append((now_s, need))
        while self._needed[0][0] < now_s - limits.shrink_s:
            self._needed.popleft()
        if need > self.number:
            if self._grown_s is None or now_s - self._grown_s >= limits.grow_s:
                self.number, self.reason, self._grown_s = need, why, now_s
            return self.number
        most = max(number for _, number in self._needed)
        if most < self.number and now_s - self._began_s >= limits.shrink_s:
            self.number, self.reason = most, f"no more were needed for {limits.shrink_s:g} s"
        return self.number


@dataclass(frozen=True, slots=True)
class Candidate:
    """A replica that could be ended."""

    number: int
    ready: bool
    running: int


def superfluous(candidates: Sequence[Candidate], count: int) -> list[Candidate]:
    """Which to end: those that do nothing yet, then those with least to finish, the youngest first."""
    return sorted(candidates, key=lambda c: (c.ready, c.running, -c.number))[:count]
