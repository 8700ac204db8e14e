"""Asks replicas how they are, and says which of them are gone."""

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress

import msgspec

from cordee.core.http.client import Client, Reply, Unreachable
from cordee.serve.gateway.dispatcher import Dispatcher
from cordee.serve.gateway.fleet import Fleet, Replica
from cordee.serve.gateway.record import COMPLETIONS
from cordee.serve.gateway.vitals import PATH as VITALS
from cordee.serve.gateway.vitals import Vitals, read
from cordee.serve.policy.failover import OTHERS, OWN, PROBE_S, Signs, hangs

TICK_S = 0.05
VITALS_S, NO_VITALS_S = 1.0, 30.0
"""How often an engine of others is asked what it does; and one that did not say."""
QUESTION_S = 1.0
"""How often one of others that was lost gets a question of one token."""
ANSWER_S, QUESTION_ANSWER_S = 3.5, 30.0
"""So long an answer is waited for; that to a question waits for a step of what it still has."""
UNREACHED = 3
"""Probes in a row that reach nobody, after which a replica is dead."""


class Health:
    """Watches all replicas of a fleet."""

    def __init__(self, fleet: Fleet, dispatcher: Dispatcher) -> None:
        self._fleet, self._dispatcher = fleet, dispatcher
        self._client = Client(connect_s=OWN.silent_s)
        self._probes: dict[Replica, asyncio.Task[None]] = {}
        self._probed_s: dict[Replica, float] = {}
        self._unreached: dict[Replica, int] = {}
        self._vitals: dict[Replica, tuple[float, Vitals | None]] = {}
        """What engines of others said last, and when they are asked again."""

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
        pause_s = QUESTION_S if _questioned(replica) else PROBE_S
        if now - self._probed_s.get(replica, 0.0) >= pause_s and replica not in self._probes:
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
        reason = hangs(signs, OWN if _own(replica) else OTHERS)
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
        try:
            reply = await self._asked(replica)
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
        if _own(replica) and reply.status == 200:
            self._read(replica, msgspec.json.decode(reply.body), now)
        if replica.pool.kind == "vllm" and not replica.context:
            await self._ask_context(replica)
        well = reply.status in (200, 404) and not replica.mistrusted and not _broken(replica)
        if replica.state == "suspect" and well:
            replica.state, replica.since_s = "ready", time.time()
            self._renew(replica, now)
            self._dispatcher.events.add("replica-ready", replica.name, "answers again")
            self._dispatcher.pump()
        if not _own(replica) and now >= self._vitals.get(replica, (0.0, None))[0]:
            await self._ask_vitals(replica, now)

    async def _asked(self, replica: Replica) -> Reply:
        """An answer that says whether the replica lives. Raises `Unreachable`."""
        if _own(replica):
            return await self._client.request(replica.url + "/cordee/engine", timeout_s=ANSWER_S)
        if not _questioned(replica):
            return await self._client.request(replica.url + "/health", timeout_s=ANSWER_S)
        question = {"model": replica.pool.model, "prompt": "1", "max_tokens": 1}
        return await self._client.request(
            replica.url + COMPLETIONS,
            method="POST",
            body=msgspec.json.encode(question),
            timeout_s=QUESTION_ANSWER_S,
        )

    async def _ask_vitals(self, replica: Replica, now: float) -> None:
        """Have an engine of others say what it does, and whether it went on since it was asked last."""
        vitals = None
        with suppress(Unreachable):
            reply = await self._client.request(replica.url + VITALS, timeout_s=ANSWER_S)
            if reply.status == 200:
                vitals = read(reply.body.decode(errors="replace"))
        before = self._vitals.get(replica, (0.0, None))[1]
        self._vitals[replica] = now + (VITALS_S if vitals else NO_VITALS_S), vitals
        if vitals is None:
            replica.steps = -1
            return
        replica.told_running, replica.told_waiting = vitals.running, vitals.waiting
        replica.of_others = max(0, vitals.running + vitals.waiting - replica.running)
        replica.cache_used = vitals.cache_used
        if before is None or vitals.progress != before.progress or not replica.running:
            steps = replica.steps + 1 if vitals.steps is None else vitals.steps
            _stepped(replica, steps, bool(replica.running), time.monotonic())

    async def _ask_context(self, replica: Replica) -> None:
        """How long an answer of vLLM may be that goes on from another's tokens."""
        with suppress(
            Unreachable, msgspec.DecodeError, KeyError, IndexError, TypeError, ValueError
        ):
            reply = await self._client.request(replica.url + "/v1/models", timeout_s=ANSWER_S)
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
            _stepped(replica, steps, bool(replica.told_running), now)

    def _forget(self, replicas: Sequence[Replica]) -> None:
        known = set(replicas)
        for gone in [replica for replica in self._probed_s if replica not in known]:
            del self._probed_s[gone]
            self._unreached.pop(gone, None)
            self._vitals.pop(gone, None)
            if not self._dispatcher.on_replica.get(gone):
                self._dispatcher.on_replica.pop(gone, None)


def _own(replica: Replica) -> bool:
    return replica.pool.kind == "cordee"


def _questioned(replica: Replica) -> bool:
    """Whether the engine itself must say something: the server before one of others answers while its chip hangs."""
    return not _own(replica) and replica.state == "suspect"


def _stepped(replica: Replica, steps: int, busy: bool, now: float) -> None:
    """It made so many steps in all, or had nothing to do."""
    if replica.steps >= 0 and busy:
        # Steps of late count more: what was slow once is forgotten.
        taken = (now - replica.stepped_s) / max(1, steps - replica.steps)
        replica.longest_step_s = max(taken, 0.98 * replica.longest_step_s)
    replica.steps, replica.stepped_s = steps, now


def _number(state: dict[str, object], name: str) -> int:
    value = state.get(name)
    return value if isinstance(value, int) else 0


def _ends(replica: Replica) -> bool:
    """Whether it has nothing left to do before it ends, as it was asked to: then it need not answer."""
    return replica.state == "draining" and not replica.running


def _broken(replica: Replica) -> bool:
    return replica.breaker.state(time.monotonic()) == "open"
