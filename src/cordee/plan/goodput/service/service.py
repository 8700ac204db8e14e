"""Replicas that serve, how often they fall, and what becomes of a year of them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from cordee.core.errors import UsageError
from cordee.plan.goodput.cluster import HOUR_S
from cordee.plan.goodput.rates import Rates, hang_share

Sign = Literal["closed", "silent", "stuck"]
"""How a replica that falls shows it: connections close, nothing comes any more, or probes are answered and no step made."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """Replicas behind the gateway, and the requests that come."""

    replicas: int
    replica_chips: int
    node_chips: int = 8
    rate_per_s: float
    """Requests that come."""
    room: int
    """Requests that a replica gets at a time."""
    stay_s: float
    """How long a request is on a replica."""
    first_s: float
    """Of that, until its first token."""
    answer: int
    """Tokens of an answer."""
    prompt: int
    rates: Rates
    repair_s: float = 86400.0
    start_s: float = 300.0
    """Until a replica is up whose process died."""
    own_engine: bool = False
    """Whether replicas are cordee's own engine, which says of itself how many steps it has made."""

    def __post_init__(self) -> None:
        if self.replicas < 1 or self.room < 1:
            raise UsageError("a service has a replica at least, with room for a request")

    @property
    def together(self) -> int:
        """Replicas that fall with a node."""
        return max(1, self.node_chips // self.replica_chips)

    @property
    def capacity_per_s(self) -> float:
        """Requests that a replica can serve."""
        return self.room / self.stay_s

    @property
    def wanted(self) -> float:
        """Replicas that are needed for what comes, were it spread evenly."""
        return self.rate_per_s / self.capacity_per_s

    @property
    def hardware_per_s(self) -> float:
        """How often a replica is lost to what must be repaired."""
        return self.rates.hardware * max(self.replica_chips, self.node_chips) / HOUR_S

    @property
    def software_per_s(self) -> float:
        return self.rates.by_part.get("software", 0.0) * self.replica_chips / HOUR_S

    @property
    def falls_per_s(self) -> float:
        """Of all: nodes with what they have, and single processes."""
        return self.replicas * (self.hardware_per_s / self.together + self.software_per_s)

    def signs(self) -> Mapping[Sign, float]:
        """How likely each is, of a failure."""
        parts, total = self.rates.by_part, self.rates.total or 1.0
        silent = (parts.get("host", 0.0) + parts.get("network", 0.0)) / total
        stuck = (1 - silent) * hang_share()
        return {"closed": 1 - silent - stuck, "silent": silent, "stuck": stuck}


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceOutcome:
    """What clients saw."""

    days: float
    requests: float
    failures: int
    """Of replicas, or of nodes with theirs."""
    gaps: float
    """Requests that moved while they were answered, or had to wait for a replica that was gone."""
    gaps_s: tuple[float, ...]
    """How long nothing came, of a sample of them; sorted."""
    broken_off: float
    """Requests that were given up under way."""
    refused: float
    """Requests that were refused since too many waited."""
    short_s: float
    """Time with fewer replicas than are needed for what comes."""

    @property
    def availability(self) -> float:
        """The part of requests that was answered whole."""
        return 1 - (self.broken_off + self.refused) / self.requests

    def gap_s(self, part: float) -> float:
        """Seconds that this part of the gaps stays below."""
        if not self.gaps_s:
            return 0.0
        return self.gaps_s[min(len(self.gaps_s) - 1, int(part * len(self.gaps_s)))]
