"""A fleet of local processes, and of engines that run elsewhere."""

import asyncio
import os
import signal
import time
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from cordee.core.errors import CordeeError, UsageError
from cordee.serve.cluster.found import Cluster, Found
from cordee.serve.gateway.fleet import Action, Pool, Replica
from cordee.serve.policy.breaker import Breaker
from cordee.serve.policy.scaling import Candidate, superfluous
from cordee.serve.pool.config import PoolConfig
from cordee.serve.pool.forked import Zygotes
from cordee.serve.pool.launch import Launch, cluster_of, launch, reading
from cordee.serve.pool.logs import keep
from cordee.serve.pool.place import BRIEF_PAUSE_S, LONGEST_PAUSE_S, Place
from cordee.serve.pool.process import Process, StartError, how_it_ended, start
from cordee.serve.pool.soundness import lost_chips
from cordee.serve.pool.spares import Spares
from cordee.serve.pool.warming import Warming
from cordee.serve.replica.command import FAILED

LOOK_S = 1.0
"""How often a cluster is asked where its engines are."""
GENTLE_S = 600.0
ENDING_S = 20.0
"""So long vLLM may take to end once it has nothing to do."""
HUNG_S, HUNG_TIMES = 30.0, 4
"""After so long a vLLM that hangs is started again; after so many times as long where it was the last.

Where all are silent the machine may have too much to do, and new ones would take even longer.
"""
Tell = Callable[[str, Replica, str], None]


@dataclass(slots=True)
class LocalFleet:
    """Runs the replicas of all pools. Processes end with it."""

    configs: Sequence[PoolConfig]
    logs: Path
    """The folder in which replicas write."""
    tell: Tell = lambda kind, replica, text: None
    _places: list[Place] = field(default_factory=list)
    _pools: list[Pool] = field(default_factory=list)
    _spares: Spares = field(default_factory=Spares)
    _stock: dict[str, list[tuple[int, ...]]] = field(default_factory=dict)
    """Chips for the replicas that a pool may yet get, by its name."""
    _lookouts: "list[asyncio.Task[None]]" = field(default_factory=list)
    _endings: "set[asyncio.Task[None]]" = field(default_factory=set)
    """Those of engines that are given time for it."""
    _warming: Warming = field(default_factory=Warming)
    _zygotes: Zygotes = field(default_factory=Zygotes)
    _unseen: dict[str, str] = field(default_factory=dict)
    """Why the engines of a pool in a cluster are not known, by its name."""

    def __post_init__(self) -> None:
        firsts: dict[str, int] = {}
        for config in self.configs:
            pool = Pool(
                config.name,
                config.called,
                config.kind,
                config.role,
                config.share,
                positional=config.positional,
                reading=reading(config),
            )
            self._pools.append(pool)
            if config.followed:
                continue  # they are looked up
            chips = self._chips(config, firsts.get(config.device, 0))
            firsts[config.device] = firsts.get(config.device, 0) + config.chips
            for number in range(len(config.urls) or config.replicas):
                url = config.urls[number].rstrip("/") if config.urls else ""
                state = "ready" if config.urls else "starting"
                replica = Replica(f"{config.name}-{number}", url, pool, state=state)  # type: ignore[arg-type]
                self._places.append(Place(replica, config, chips.pop(0) if chips else ()))
            self._stock[config.name] = chips

    def _chips(self, config: PoolConfig, first: int) -> list[tuple[int, ...]]:
        """Those of each replica that a pool can have; spare ones come after them."""
        if not config.chips:
            return []
        each, spares = config.chips_per_replica, first + config.chips - config.spare_chips
        self._spares.add(config.device, range(spares, spares + config.spare_chips))
        return [tuple(range(start, start + each)) for start in range(first, spares, each)]

    def replicas(self) -> Sequence[Replica]:
        return [place.replica for place in self._places]

    def pools(self) -> Sequence[Pool]:
        return self._pools

    def start(self) -> None:
        """Start all local replicas and keep them running."""
        for place in self._places:
            if not place.config.urls:
                self._begin(place)
        for config, pool in zip(self.configs, self._pools, strict=True):
            if config.followed:
                watch = self._watch(config, pool, cluster_of(config))
                self._lookouts.append(asyncio.get_running_loop().create_task(watch))

    async def stop(self) -> None:
        """End all processes, and wait until they are gone."""
        self.tell = lambda kind, replica, text: None  # that they end is no news now
        for place in self._places:
            place.wanted = False
        running = [place.process for place in self._places if place.process is not None]
        for process in running:
            process.signal(signal.SIGKILL)
        await asyncio.gather(*(process.ended() for process in running))
        for place in self._places:
            if place.task is not None:
                place.task.cancel()
        for lookout in self._lookouts:
            lookout.cancel()
        tasks = [place.task for place in self._places if place.task is not None]
        tasks += self._lookouts
        for ending in self._endings:
            ending.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._zygotes.close()

    async def first_ready(self) -> None:
        """Wait for a replica to take requests. Raises `UsageError` where none of them can be."""
        while True:
            if any(place.replica.state == "ready" for place in self._places):
                return
            errors = [place.error for place in self._places if place.error]
            errors += self._unseen.values()
            if errors and len(errors) == len(self._places) + len(self._lookouts):
                raise UsageError(errors[0])
            await asyncio.sleep(0.01)

    async def act(self, replica: Replica, action: Action) -> None:
        place = self._place(replica)
        if place.config.urls:
            if action not in ("drain", "resume"):
                raise UsageError(
                    f"{replica.name} is run elsewhere: it can be drained and resumed only"
                )
            self._set(replica, "draining" if action == "drain" else "ready")
            return
        process = place.process
        if action == "resume" and process is None:
            place.wanted = True
            if place.task is None or place.task.done():
                self._begin(place)
            return
        if process is None:
            raise UsageError(f"{replica.name} does not run now")
        signals = {
            "kill": signal.SIGKILL,
            "hang": signal.SIGSTOP,
            "resume": signal.SIGCONT,
            "corrupt": signal.SIGUSR1,
            "reset": signal.SIGUSR2,
        }
        if action in ("corrupt", "reset") and place.config.kind == "vllm":
            raise UsageError(f"{replica.name}: vLLM cannot be made to do that")
        if action in ("corrupt", "reset") and "--faults" not in place.config.arguments:
            raise UsageError(f'{replica.name}: start it with arguments = ["--faults"] for that')
        if action in signals:
            process.signal(signals[action])
            return
        place.wanted = action == "restart"
        self._drain(place, process)

    def _drain(self, place: Place, process: Process) -> None:
        """It takes no more requests, finishes those it has, and ends."""
        self._set(place.replica, "draining")
        if place.config.kind == "vllm":
            self._later(self._end(place))
        else:
            process.signal(signal.SIGTERM)

    def scale(self, pool: Pool, number: int) -> None:
        """Let a pool have so many replicas; those that are too many finish what they have."""
        config = next(c for c in self.configs if c.name == pool.name)
        if config.elsewhere:
            raise UsageError(
                f"{pool.name} is run elsewhere: add engines there, and their urls here"
            )
        places = {p.replica.name: p for p in self._places if p.replica.pool is pool and p.wanted}
        room = len(places) + len(self._stock[pool.name]) if config.chips else number
        if number > room:
            raise UsageError(f"{pool.name} has chips for {room} replicas; more need more --chips")
        for _ in range(number - len(places)):
            self._grow(pool, config)
        candidates = [
            Candidate(number_of(name), place.replica.state == "ready", place.replica.running)
            for name, place in places.items()
        ]
        for candidate in superfluous(candidates, max(0, len(places) - number)):
            self._shrink(places[f"{pool.name}-{candidate.number}"])

    def _grow(self, pool: Pool, config: PoolConfig) -> None:
        taken = {number_of(p.replica.name) for p in self._places if p.replica.pool is pool}
        number = next(n for n in range(len(taken) + 1) if n not in taken)
        stock = self._stock.get(pool.name, [])
        replica = Replica(f"{pool.name}-{number}", "", pool, state="starting")
        place = Place(replica, config, stock.pop(0) if stock else ())
        self._places.append(place)
        self._begin(place)

    def _shrink(self, place: Place) -> None:
        place.wanted, place.leaves = False, True
        if place.process is not None:
            self._drain(place, place.process)
        elif place.task is not None:  # it does nothing yet
            place.task.cancel()
            self._gone(place)

    def _gone(self, place: Place) -> None:
        self._set(place.replica, "stopped")
        if place.leaves and place in self._places:
            self._places.remove(place)
            if place.chips:
                self._stock[place.config.name].append(place.chips)

    def _begin(self, place: Place) -> None:
        place.task = asyncio.get_running_loop().create_task(self._keep(place))

    def failed(self, replica: Replica, reason: str) -> None:
        """One that hangs is killed, so that another can take its place."""
        place = next((p for p in self._places if p.replica is replica), None)  # a pod may be gone
        if place is None or place.process is None or place.config.urls:
            return
        if place.config.kind == "vllm":
            self._later(self._end_hung(place))
        else:
            place.process.signal(signal.SIGKILL)

    def _later(self, ending: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(ending)
        self._endings.add(task)
        task.add_done_callback(self._endings.discard)

    async def _end(self, place: Place) -> None:
        """vLLM breaks off its answers when it is told to end: wait until it has none."""
        process, replica = place.process, place.replica
        assert process is not None
        with suppress(TimeoutError):
            async with asyncio.timeout(GENTLE_S):
                while replica.running:
                    await asyncio.sleep(0.05)
        process.ask_to_end()
        with suppress(TimeoutError):
            async with asyncio.timeout(ENDING_S):
                await process.ended()
        process.signal(signal.SIGKILL)

    async def _end_hung(self, place: Place) -> None:
        """One that takes minutes to start is given time to come back; more where no other one is ready."""
        process, replica = place.process, place.replica
        since_s = replica.since_s
        for _ in range(HUNG_TIMES):
            await asyncio.sleep(HUNG_S)
            still = replica.state == "suspect" and replica.since_s == since_s  # not once more
            if not still or process is None or place.process is not process:
                return
            if any(p.replica.state == "ready" for p in self._places if p.config is place.config):
                break
        assert process is not None
        process.signal(signal.SIGKILL)

    async def _watch(self, config: PoolConfig, pool: Pool, cluster: Cluster) -> None:
        """Keep the replicas of a pool those that its cluster has."""
        while True:
            try:
                self._take(config, pool, await cluster.engines())
                self._unseen.pop(pool.name, None)
                if cluster.trouble:
                    self._unseen[pool.name] = f"pool {pool.name}: {cluster.trouble}"
            except CordeeError as error:  # those that are known stay
                self._unseen[pool.name] = f"pool {pool.name}: {error}"
            await asyncio.sleep(LOOK_S)

    def _take(self, config: PoolConfig, pool: Pool, found: Sequence[Found]) -> None:
        known = {p.replica.name: p for p in self._places if p.replica.pool is pool}
        for engine in found:
            place = known.pop(engine.name, None)
            if place is None and engine.ready and not engine.ending:
                replica = Replica(engine.name, engine.url, pool)
                self._places.append(Place(replica, replace(config, urls=(engine.url,))))
                self.tell("replica-ready", replica, f"was found at {engine.url}")
            elif place is not None and engine.ending and place.replica.state == "ready":
                self._set(place.replica, "draining")
        for gone in known.values():
            self._set(gone.replica, "stopped")
            self._places.remove(gone)
            self.tell("replica-dead", gone.replica, "is no longer in the cluster")

    async def _keep(self, place: Place) -> None:
        """Start a replica, wait for its end, and start it again for as long as it is wanted."""
        while place.wanted:
            made = await self._started(place)
            if made is not None:
                await self._until_ended(place, made)
        self._gone(place)

    async def _started(self, place: Place) -> Launch | None:
        """Start a replica and wait until it is ready; None, after a pause, where it did not become so."""
        replica, made = place.replica, None
        self._set(replica, "starting")
        replica.chips = place.chips
        log = self.logs / f"{replica.name}.log"
        try:
            made = launch(place.config, place.chips, self._threads(place.config), log)
            if place.config.kind == "vllm":
                self.tell("replica-starting", replica, f"starts vLLM, see {log}")
            place.process = await start(made, self._zygotes)
        except (StartError, UsageError) as error:
            if isinstance(error, StartError) and error.crashed:
                keep(log)
            place.error = f"{replica.name}: {error}"
            self._set(replica, "dead")
            self.tell("replica-dead", replica, str(error))
            if place.chips and made is not None:
                await self._to_spares(place, made, blamed=False)
            await asyncio.sleep(place.pause(LONGEST_PAUSE_S))
            return None
        place.error, place.started_s = "", time.monotonic()
        replica.breaker, replica.mistrusted = Breaker(), ""
        replica.url, replica.pid = f"http://127.0.0.1:{place.process.port}", place.process.pid
        replica.generation = ""
        replica.memory.forget()
        told = await self._warming.warm(replica, self.replicas(), place.config.warm_s)
        self._set(replica, "ready")
        where = f"listens on port {place.process.port}"
        self.tell("replica-ready", replica, f"{where}, {told}" if told else where)
        return made

    async def _until_ended(self, place: Place, made: Launch) -> None:
        """Wait for the end of a replica, and for the pause after it; see to its chips where they failed."""
        replica = place.replica
        assert place.process is not None
        code = await place.process.ended()
        place.process = replica.pid = None
        self._set(replica, self._after(place))
        replica.restarts += 1
        if code != 0 and place.wanted:
            keep(made.log)
        seen = f"; {made.log}" if code > 0 else ""
        self.tell("replica-dead", replica, how_it_ended(code) + seen)
        if place.chips and (code == FAILED or replica.mistrusted):
            await self._to_spares(place, made, blamed=True)
        if code != 0:
            await asyncio.sleep(place.pause(BRIEF_PAUSE_S))

    def _after(self, place: Place) -> str:
        return "dead" if place.wanted else "stopped"

    async def _to_spares(self, place: Place, made: Launch, *, blamed: bool) -> None:
        """Spare chips take the place of those that are lost. `blamed`: at least one of them must be."""
        lost = place.chips
        if len(lost) > 1 or not blamed:
            lost = await lost_chips(made, place.chips, self._zygotes)
        if blamed and not lost:
            lost = place.chips  # they compute, but wrongly
        place.chips = self._spares.instead(place.config.device, place.chips, lost)

    def _threads(self, config: PoolConfig) -> int:
        if config.threads:
            return config.threads
        local = sum(1 for place in self._places if not place.config.urls)
        if local == 1 and config.kind == "cordee":
            return 0  # it sees for itself
        return max(1, len(os.sched_getaffinity(0)) // max(1, local))

    def _place(self, replica: Replica) -> Place:
        return next(place for place in self._places if place.replica is replica)

    def _set(self, replica: Replica, state: str) -> None:
        replica.state = state  # type: ignore[assignment]
        replica.since_s = time.time()


def number_of(name: str) -> int:
    """The number at the end of a replica's name."""
    return int(name.rpartition("-")[2])
