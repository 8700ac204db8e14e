"""Which pool a request falls to, and which replicas have room for it."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

from cordee.serve.api.errors import ApiError
from cordee.serve.gateway.config import GatewayConfig
from cordee.serve.gateway.fleet import Fleet, Pool, Replica
from cordee.serve.gateway.record import Record, seed_of
from cordee.serve.gateway.relay import Relay
from cordee.serve.policy.routing import Candidate, pick, pieces, split


@dataclass(frozen=True, slots=True)
class Rooms:
    """Looks for places in a fleet."""

    config: GatewayConfig
    fleet: Fleet

    def choose_pool(self, record: Record) -> None:
        """By the shares of the pools; a request keeps its pool, whoever asks again."""
        model = record.lines[0].body.get("model") or ""
        pools = [
            pool
            for pool in self.fleet.pools()
            if pool.role in ("primary", "canary") and model in ("", pool.model)
        ]
        if not pools:
            known = sorted({pool.model for pool in self.fleet.pools()})
            raise ApiError(
                404,
                f"there is no model {model}; this service has {', '.join(known)}",
                param="model",
                code="model_not_found",
            )
        number = (seed_of(record.id) % 2**20) / 2**20
        if record.pool not in [pool.name for pool in pools]:
            shares = [(pool.name, pool.share) for pool in pools]
            record.pool = split(shares, number) or pools[0].name
        chosen = next(pool for pool in pools if pool.name == record.pool)
        for line in record.lines:
            line.body["model"] = chosen.model

    def candidates(self, record: Record) -> list[Replica]:
        """Replicas that could take it: of its pool, else of any other that serves the model."""
        now = time.monotonic()
        model = record.lines[0].body.get("model") or ""
        ready = [
            replica
            for replica in self.fleet.replicas()
            if replica.takes(now)
            and replica.pool.role != "shadow"
            and model in ("", replica.pool.model)
        ]
        own = [replica for replica in ready if replica.pool.name == record.pool]
        return own or [replica for replica in ready if _same_answers(replica.pool, record)]

    def place_for(self, relay: Relay) -> Replica | None:
        """The replica to begin on; of a request under way one that gives the same bits if it can be."""
        most = self.config.replica_requests
        ready = [r for r in self.candidates(relay.record) if r.running < most]
        others = [replica for replica in ready if replica is not relay.avoid]
        if relay.line.said and relay.avoid is not None:
            same = [replica for replica in others if replica.numerics == relay.avoid.numerics]
            others = same or others
        return self._picked(others or ready, relay.record)

    def second(self, relay: Relay) -> Replica | None:
        """Another replica of the same pool, which has room and nobody who waits for it."""
        first = relay.replica
        most = self.config.replica_requests
        others = [
            replica
            for replica in self.candidates(relay.record)
            if first is not None
            and replica is not first
            and replica.pool is first.pool
            and replica.running < most
            and not replica.told_waiting
        ]
        return self._picked(others, relay.record)

    def free(self) -> bool:
        """Whether any replica has room."""
        most = self.config.replica_requests
        return any(r.running < most and r.takes(time.monotonic()) for r in self.fleet.replicas())

    def _picked(self, replicas: Sequence[Replica], record: Record) -> Replica | None:
        names = pieces(record.prompt)
        by_name = {replica.name: replica for replica in replicas}
        chosen = pick(
            [
                Candidate(
                    replica.name,
                    replica.load,
                    replica.memory.known(names),
                )
                for replica in replicas
            ]
        )
        return None if chosen is None else by_name[chosen]


def _same_answers(pool: Pool, record: Record) -> bool:
    """Whether a pool may stand in for another: not one that is only being tried."""
    return pool.role in ("primary", "standby") and bool(record.id)
