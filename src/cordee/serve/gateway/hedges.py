"""Asks a second replica where a first token is late, and lets the faster of the two speak."""

import asyncio
import time
from dataclasses import dataclass, field
from typing import Protocol

from cordee.core.http.client import Stream
from cordee.serve.gateway.config import GatewayConfig
from cordee.serve.gateway.fleet import Pool, Replica
from cordee.serve.gateway.record import Record
from cordee.serve.gateway.relay import Relay
from cordee.serve.gateway.rival import Rival
from cordee.serve.gateway.rooms import Rooms
from cordee.serve.policy.hedging import Budget, Late

FRESH_S = 1.0
"""For so long what is late in a pool is not worked out again."""


class Keeper(Protocol):
    """Asks replicas, and hears that they failed."""

    def enter(self, asking: Rival, record: Record, replica: Replica) -> None:
        """A replica is about to be asked."""

    def begin(self, asking: Rival, url: str, stream: Stream, body: bytes) -> None:
        """Send the request."""

    def leave(self, asking: Rival, replica: Replica) -> None:
        """The replica works on it no more."""

    def broke(self, replica: Replica, reason: str) -> None:
        """The replica failed."""


@dataclass(slots=True)
class Hedges:
    """All second askings."""

    config: GatewayConfig
    rooms: Rooms
    keeper: Keeper
    asked: int = 0
    won: int = 0
    _budget: Budget = field(init=False)
    _late: Late = field(init=False)
    _after_s: dict[str, tuple[float, float | None]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        config = self.config
        self._budget = Budget(config.hedge_share)
        self._late = Late(
            quantile=config.hedge_quantile,
            factor=config.hedge_factor,
            least_s=config.hedge_least_s,
        )

    def watch(self, relay: Relay, replica: Replica) -> None:
        """A choice begins on a replica."""
        if relay.avoid is None:  # else it began before
            self._budget.earn()
        after_s = self._usual(replica.pool)
        if after_s is not None:
            asyncio.get_running_loop().call_later(after_s, self._look, relay, relay.stream)

    def _look(self, relay: Relay, stream: Stream | None) -> None:
        """The time is up: is the first token there?"""
        if relay.over or relay.stream is not stream or not relay.silent or relay.rival is not None:
            return
        replica = self.rooms.second(relay)
        if replica is None or not self._budget.spend():
            asyncio.get_running_loop().call_later(FRESH_S, self._look, relay, stream)
            return
        self.asked += 1

        def won(rival: Rival) -> None:
            self.won += 1
            relay.adopt(rival)

        def over(rival: Rival, reason: str | None) -> None:
            relay.rival = None
            self.keeper.leave(rival, rival.replica)
            if reason is not None:
                self.keeper.broke(rival.replica, reason)

        rival = relay.rival = Rival(replica, won, over)
        if relay.record.trace is not None:
            rival.span = relay.record.trace.below()
            rival.headers = relay.record.trace.headers(rival.span)
        self.keeper.enter(rival, relay.record, replica)
        asked = relay.question(replica)
        rival.seam = asked.seam
        self.keeper.begin(rival, replica.url + asked.path, rival.stream, asked.body)

    def _usual(self, pool: Pool) -> float | None:
        now = time.monotonic()
        known = self._after_s.get(pool.name)
        if known is not None and known[1] is not None and now - known[0] < FRESH_S:
            return known[1]
        replicas = [r for r in self.rooms.fleet.replicas() if r.pool is pool]
        after_s = self._late.after_s([s for r in replicas for s in r.first_tokens_s])
        self._after_s[pool.name] = now, after_s
        return after_s
