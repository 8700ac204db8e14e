"""Asks replicas how they are, and says which of them are gone."""

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress

import msgspec

from cordee.core.http.client import Client, Unreachable
from cordee.serve.gateway.dispatcher import Dispatcher
from cordee.serve.gateway.fleet import Fleet, Replica
from cordee.serve.policy.failover import OTHERS_SILENT_S, PROBE_S, SILENT_S, Signs, hangs

TICK_S = 0.05
UNREACHED = 3
"""Probes in a row that reach nobody, after which a replica is dead."""


class Health:
    """Watches all replicas of a fleet."""

    def __init__(self, fleet: Fleet, dispatcher: Dispatcher) -> None:
        self._fleet, self._dispatcher = fleet, dispatcher
        self._client = Client(connect_s=SILENT_S)
        self._probes: dict[Replica, asyncio.Task[None]] = {}
        self._probed_s: dict[Replica, float] = {}
        self._unreached: dict[Replica, int] = {}

    async def run(self) -> None:
        """Watch until cancelled."""
        looked_s = time.monotonic()
        while True:
            now = time.monotonic()
            replicas = self._fleet.replicas()
            late_s, looked_s = now - looked_s - TICK_S, now
            for replica in replicas:
                if late_s > TICK_S:  # for so long the gateway heard nobody: nobody was silent
                    replica.answered_s = min(now, replica.answered_s + late_s)
                self._watch(replica, now)
            self._forget(replicas)
            self._dispatcher.tick(now)
            await asyncio.sleep(TICK_S)

    def _watch(self, replica: Replica, now: float) -> None:
        if replica not in self._probed_s:
            self._renew(replica, now)
        if replica.state in ("starting", "stopped", "dead"):
            self._renew(replica, now)
            if replica.state == "dead" and self._dispatcher.on_replica.get(replica):
                self._dispatcher.gone(replica, "ended")
            return
        if now - self._probed_s.get(replica, 0.0) >= PROBE_S and replica not in self._probes:
            self._probed_s[replica] = now
            task = asyncio.get_running_loop().create_task(self._probe(replica))
            self._probes[replica] = task
            task.add_done_callback(lambda _: self._probes.pop(replica, None))
        if replica.state not in ("ready", "draining") or _ends(replica):
            return
        busy = bool(replica.running) and replica.steps >= 0
        signs = Signs(
            answered_s=now - replica.answered_s,
            stepped_s=now - replica.stepped_s,
            longest_step_s=replica.longest_step_s,
            busy=busy,
            longest_answer_s=replica.longest_answer_s,
            steps=replica.steps,
        )
        own = replica.pool.kind == "cordee"
        reason = hangs(signs, SILENT_S if own else OTHERS_SILENT_S)
        if reason is not None:
            self.lost(replica, reason)

    def _renew(self, replica: Replica, now: float) -> None:
        """It starts anew: its silence until now says nothing."""
        replica.answered_s = replica.stepped_s = now
        replica.steps, replica.longest_step_s = -1, 0.0

    def lost(self, replica: Replica, reason: str) -> None:
        """It is not to be relied on: its requests go on elsewhere."""
        replica.state = "suspect"
        replica.since_s = time.time()
        self._fleet.failed(replica, reason)
        self._dispatcher.gone(replica, reason)

    async def _probe(self, replica: Replica) -> None:
        own = replica.pool.kind == "cordee"
        url = replica.url + ("/cordee/engine" if own else "/health")
        try:
            reply = await self._client.request(url, timeout_s=5 * SILENT_S)
        except Unreachable as error:
            self._unreached[replica] = self._unreached.get(replica, 0) + 1
            there = replica.state in ("ready", "draining") and not _ends(replica)
            if self._unreached[replica] >= UNREACHED and there:
                self.lost(replica, str(error))
            return
        self._unreached[replica] = 0
        now = time.monotonic()
        replica.answered_s = now
        # Answers of late count more: what was slow once is forgotten.
        replica.longest_answer_s = max(
            now - self._probed_s.get(replica, now), 0.98 * replica.longest_answer_s
        )
        if own and reply.status == 200:
            self._read(replica, msgspec.json.decode(reply.body), now)
        if replica.pool.kind == "vllm" and not replica.context:
            await self._ask_context(replica)
        well = reply.status in (200, 404) and not replica.mistrusted and not _broken(replica)
        if replica.state == "suspect" and well:
            replica.state, replica.since_s = "ready", time.time()
            self._renew(replica, now)
            self._dispatcher.events.add("replica-ready", replica.name, "answers again")
            self._dispatcher.pump()

    async def _ask_context(self, replica: Replica) -> None:
        """How long an answer of vLLM may be that goes on from another's tokens."""
        with suppress(
            Unreachable, msgspec.DecodeError, KeyError, IndexError, TypeError, ValueError
        ):
            reply = await self._client.request(replica.url + "/v1/models", timeout_s=5 * SILENT_S)
            replica.context = int(msgspec.json.decode(reply.body)["data"][0]["max_model_len"])

    def _read(self, replica: Replica, state: dict[str, object], now: float) -> None:
        if replica.generation and replica.generation != state.get("generation"):
            replica.memory.forget()
            replica.mistrusted, replica.longest_answer_s = "", 0.0
        replica.generation = str(state.get("generation", ""))
        replica.numerics = str(state.get("numerics", ""))
        replica.chip = replica.chip or (str(state["chip"]) if state.get("chip") else None)
        replica.told_running = _number(state, "running")
        replica.told_waiting = _number(state, "waiting")
        blocks = max(1, _number(state, "kv_blocks"))
        replica.cache_used = 1 - _number(state, "kv_blocks_free") / blocks
        steps = _number(state, "steps")
        if steps != replica.steps or not replica.told_running:
            if replica.steps >= 0 and replica.told_running:
                # Steps of late count more: what was slow once is forgotten.
                taken = (now - replica.stepped_s) / max(1, steps - replica.steps)
                replica.longest_step_s = max(taken, 0.98 * replica.longest_step_s)
            replica.steps, replica.stepped_s = steps, now

    def _forget(self, replicas: Sequence[Replica]) -> None:
        known = set(replicas)
        for gone in [replica for replica in self._probed_s if replica not in known]:
            del self._probed_s[gone]
            self._unreached.pop(gone, None)
            if not self._dispatcher.on_replica.get(gone):
                self._dispatcher.on_replica.pop(gone, None)


def _number(state: dict[str, object], name: str) -> int:
    value = state.get(name)
    return value if isinstance(value, int) else 0


def _ends(replica: Replica) -> bool:
    """Whether it has nothing left to do before it ends, as it was asked to: then it need not answer."""
    return replica.state == "draining" and not replica.running


def _broken(replica: Replica) -> bool:
    return replica.breaker.state(time.monotonic()) == "open"
