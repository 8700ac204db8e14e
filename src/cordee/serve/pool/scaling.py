"""Gives pools as many replicas as their load asks for, or tells somebody else how many these are."""

import asyncio
import os
import time
from dataclasses import dataclass, field

import msgspec

from cordee.core.errors import CordeeError
from cordee.core.http.client import Client
from cordee.serve.cluster.kubernetes import Kubernetes
from cordee.serve.gateway.dispatcher import Dispatcher
from cordee.serve.gateway.fleet import Fleet, Pool, Replica
from cordee.serve.policy.scaling import Load, Scaler
from cordee.serve.pool.config import PoolConfig, ScalingConfig

LOOK_S = 0.5
RECENT_S = 30.0
"""First tokens that came before are not counted any more."""
AGAIN_S = 5.0
"""So long until somebody who could not be told is told again."""
HOOK_S = 30.0
COUNTED = ("starting", "ready", "suspect", "dead")
"""States of replicas that are there, or are to be there again."""


@dataclass(slots=True)
class Scaled:
    """A pool whose number of replicas follows its load."""

    pool: Pool
    config: PoolConfig
    scaler: Scaler | None = None
    told: int | None = None
    """The number that was told last."""
    again_s: float = 0.0
    telling: "asyncio.Task[None] | None" = None


@dataclass(slots=True)
class Autoscaler:
    """Looks after all pools that have a table [pool.scaling]."""

    fleet: Fleet
    dispatcher: Dispatcher
    configs: tuple[PoolConfig, ...]
    client: Client = field(default_factory=Client)
    _scaled: list[Scaled] = field(init=False)

    def __post_init__(self) -> None:
        pools = {pool.name: pool for pool in self.fleet.pools()}
        self._scaled = [Scaled(pools[c.name], c) for c in self.configs if c.scaling is not None]

    async def run(self) -> None:
        """Look until cancelled."""
        while self._scaled:
            for scaled in self._scaled:
                self._look(scaled, time.monotonic())
            await asyncio.sleep(LOOK_S)

    def _look(self, scaled: Scaled, now: float) -> None:
        limits = scaled.config.scaling
        assert limits is not None
        replicas = [r for r in self.fleet.replicas() if r.pool is scaled.pool]
        have = sum(replica.state in COUNTED for replica in replicas)
        if scaled.scaler is None:
            if not have and scaled.config.elsewhere:
                return  # they are not found yet
            scaled.scaler = Scaler(limits, have)
            scaled.told = have
        before = scaled.scaler.number
        number = scaled.scaler.wanted(self._load(scaled.pool, replicas, now), now)
        scaled.pool.wanted = number
        if number != before:
            text = f"from {before} to {number} replicas: {scaled.scaler.reason}"
            self.dispatcher.events.add("scale", scaled.pool.name, text)
        if _by_itself(scaled.config):
            self.fleet.scale(scaled.pool, number)
        elif number != scaled.told and scaled.telling is None and now >= scaled.again_s:
            scaled.telling = asyncio.get_running_loop().create_task(
                self._tell(scaled, limits, number)
            )

    def _load(self, pool: Pool, replicas: list[Replica], now: float) -> Load:
        ready = [replica for replica in replicas if replica.state == "ready"]
        under_way = sum(r.load for r in replicas)
        used = sum(r.cache_used for r in ready) / len(ready) if ready else 0.0
        waits = sorted(
            waited
            for came, name, waited in self.dispatcher.first_tokens
            if name == pool.name and came > now - RECENT_S
        )
        late = waits[int(0.95 * (len(waits) - 1))] if waits else None
        requests = under_way + self.dispatcher.queued_for(pool.name)
        return Load(len(ready), requests, used, late)

    async def _tell(self, scaled: Scaled, limits: ScalingConfig, number: int) -> None:
        """Whoever runs the engines is to see to it."""
        try:
            if limits.command:
                await _run(limits.command, scaled.pool.name, number)
            elif limits.url:
                await self._post(limits.url, scaled.pool.name, number)
            elif scaled.config.kubernetes is not None and scaled.config.kubernetes.deployment:
                await Kubernetes(scaled.config.kubernetes).scale(number)
            scaled.told = number
        except CordeeError as error:
            scaled.again_s = time.monotonic() + AGAIN_S
            self.dispatcher.events.add("scale-failed", scaled.pool.name, str(error))
        finally:
            scaled.telling = None

    async def _post(self, url: str, pool: str, number: int) -> None:
        body = msgspec.json.encode({"pool": pool, "wanted": number})
        reply = await self.client.request(url, method="POST", body=body, timeout_s=HOOK_S)
        if reply.status >= 300:
            raise CordeeError(f"{url}: answered {reply.status}")


def _by_itself(config: PoolConfig) -> bool:
    scaling = config.scaling
    return not config.elsewhere and scaling is not None and not (scaling.command or scaling.url)


async def _run(command: tuple[str, ...], pool: str, number: int) -> None:
    told = {"CORDEE_POOL": pool, "CORDEE_WANTED": str(number)}
    try:
        process = await asyncio.create_subprocess_exec(
            *command, str(number), stdin=asyncio.subprocess.DEVNULL, env={**os.environ, **told}
        )
    except OSError as error:
        raise CordeeError(f"{command[0]}: cannot be run: {error.strerror}") from error
    try:
        async with asyncio.timeout(HOOK_S):
            code = await process.wait()
    except TimeoutError as error:
        process.kill()
        await process.wait()
        raise CordeeError(f"{command[0]}: did not end in {HOOK_S:.0f} s") from error
    if code:
        raise CordeeError(f"{command[0]}: ended with exit code {code}")
