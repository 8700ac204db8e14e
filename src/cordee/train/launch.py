"""A whole job from one command: the coordinator, the workers of this computer, and what is told of them."""

import asyncio
import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from cordee.core.errors import CordeeError
from cordee.train.agent import FUTILE_MOST, Agent, Program
from cordee.train.checkpoint.custody import custody
from cordee.train.checkpoint.keep import Keep
from cordee.train.coordinator import Coordinator
from cordee.train.events import Event, Events
from cordee.train.policy.trust import Checks
from cordee.train.policy.workers import Limits
from cordee.train.recoveries import Recoveries
from cordee.train.wire import new_secret
from cordee.train.worker.job import Job, Mode

EVENTS = "events.jsonl"


class Failed(CordeeError):
    """The job could not be brought to its end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What is to be run."""

    program: Program
    limits: Limits
    spares: int
    mode: Mode | None
    checks: Checks
    folder: Path
    """Takes the journal, and what workers write."""
    keep: Keep = field(default_factory=Keep)

    def told(self) -> dict[str, object]:
        """What it is, for the journal."""
        return {
            "command": [self.program.script, *self.program.arguments],
            "folder": str(self.folder),
            "workers": self.limits.workers,
            "least": self.limits.least,
            "spares": self.spares,
            "mode": self.mode,
        }


async def launch(order: Order, watch: Callable[[Event], None]) -> None:
    """Run a job to its end. Raises `Failed` with what stopped it."""
    events = Events(order.folder / EVENTS)
    events.watch(watch)
    Recoveries(events)
    events.add("job", **order.told())
    with custody(order.keep, order.folder, events):
        await _launch(order, events)
    events.close()


async def _launch(order: Order, events: Events) -> None:
    secret = new_secret()
    coordinator = Coordinator(order.limits, secret, events, order.checks)
    await coordinator.open("127.0.0.1", 0)
    job = Job(
        coordinator=f"127.0.0.1:{coordinator.port}",
        secret=secret,
        workers=order.limits.workers,
        shards=order.limits.shards,
        mode=order.mode,
        keep=order.keep,
    )
    launcher = _Launcher(order, coordinator, job, events)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, launcher.interrupt)
    try:
        await launcher.run()
    finally:
        await launcher.agent.stop()
        await coordinator.close()


class _Launcher:
    """Keeps as many workers as there are to be."""

    def __init__(self, order: Order, coordinator: Coordinator, job: Job, events: Events) -> None:
        self._order, self._coordinator, self._events = order, coordinator, events
        self.agent = Agent(order.program, job, self._ended)
        self._next = 0
        self._wake = asyncio.Event()
        self._futile = 0
        """So many in a row ended before they took part."""
        self._took_part: set[int] = set()
        self._stopped = ""
        coordinator.lost = self._lost
        events.watch(self._see)
        coordinator.finished.add_done_callback(lambda _: self._wake.set())

    def _see(self, event: Event) -> None:
        if event["kind"] == "epoch":
            self._took_part |= set(cast(list[int], event["members"]))
            self._wake.set()
        elif event["kind"] == "evicted" and event["guilty"]:
            self.agent.distrust(cast(int, event["worker"]))

    async def run(self) -> None:
        finished = self._coordinator.finished
        while not finished.done() and not self._stopped:
            self._wake.clear()
            while self._more:
                await self.agent.start(self._next)
                self._next += 1
            if not self.agent.workers:
                raise Failed(f"workers end before they are ready; {self._last_words()}")
            await self._wake.wait()
        if self._stopped:
            raise Failed(self._stopped)
        error = finished.result().error
        if error is not None:
            raise Failed(f"{error}; {self._last_words()}")

    @property
    def _more(self) -> bool:
        """Whether another worker is to be started."""
        fewer = len(self.agent.workers) < self._wanted
        return fewer and self._futile < FUTILE_MOST and not self.agent.full

    @property
    def _wanted(self) -> int:
        """How many are to run: spares only once the others have begun."""
        begun = self._coordinator.membership.epoch > 0
        return self._order.limits.workers + (self._order.spares if begun else 0)

    def interrupt(self) -> None:
        """Someone wants the job to end."""
        self._stopped = "interrupted"
        self._coordinator.membership.over = True
        self._events.add("interrupted")
        for worker in self.agent.workers:
            self.agent.signal(worker, signal.SIGKILL)
        self._wake.set()

    def _lost(self, worker: int) -> None:
        """One that hangs or is cut off is ended, so that another can take its place."""
        if not self._coordinator.finished.done():
            self.agent.signal(worker, signal.SIGKILL)

    def _ended(self, worker: int, how: str) -> None:
        self._futile = 0 if worker in self._took_part else self._futile + 1
        self._events.add("exit", worker=worker, reason=how)
        if self._futile == FUTILE_MOST:
            text = (
                f"{FUTILE_MOST} workers in a row ended before they took part: no more are started"
            )
            self._events.add("odd", step=self._coordinator.membership.step, text=text)
        self._coordinator.gone(worker, how)
        self._wake.set()

    def _last_words(self) -> str:
        """Where the end of what a worker wrote is found, and that end."""
        logs = sorted(self._order.program.logs.glob("*.log"), key=lambda p: p.stat().st_mtime)
        if not logs:
            return "nothing was written"
        lines = logs[-1].read_text("utf-8", "replace").strip().splitlines()[-12:]
        return "\n".join([f"{logs[-1]} ends so:", *(f"  {line}" for line in lines)])
