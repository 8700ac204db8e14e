"""The agents of a job, as its coordinator sees them: what they are told to start and to end, and what they are told."""

import asyncio
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from cordee.core.events import Event, Events
from cordee.train.host_wire import (
    Alive,
    End,
    FromAgent,
    Happened,
    Over,
    Present,
    Remember,
    Room,
    Start,
)
from cordee.train.policy.placement import FUTILE_MOST, Host, place, room
from cordee.train.policy.succession import Known
from cordee.train.wire import ALIVE_S, Message

JOURNAL_MOST = 1000
"""So many events an agent that comes late is told."""


@dataclass(slots=True)
class _Agent:
    """One that has said that it is there."""

    host: Host
    say: Callable[[Message], None]
    heard_s: float
    there: bool = True


class Muster:
    """All agents of a job."""

    def __init__(
        self, events: Events, silent_s: float, before: Known, hosts: Iterable[int]
    ) -> None:
        """`hosts`: those that are to come, before the first workers are placed."""
        self._agents: dict[int, _Agent] = {}
        self._placed = dict(before.placed)
        self._ranks: dict[int, int] = {}
        self._next = before.following
        self._silent_s = silent_s
        self._expected = set(hosts)
        self._until_s = time.monotonic() + silent_s
        self._journal: list[Event] = []
        self._known: Known | None = None
        self._told_s = 0.0
        self._events = events
        events.watch(self._happened)

    @property
    def placed(self) -> dict[int, int]:
        """Workers that were started, and where."""
        return self._placed

    @property
    def following(self) -> int:
        """The number of the next worker."""
        return self._next

    def present(self, said: Present, say: Callable[[Message], None]) -> None:
        """An agent has come, or has come back."""
        host = Host(said.host, set(said.workers), said.most)
        self._agents[said.host] = _Agent(host, say, time.monotonic())
        self._placed.update(dict.fromkeys(said.workers, said.host))
        self._ranks.update(said.workers)
        self._next = max([self._next, *(worker + 1 for worker in said.workers)])
        for event in self._journal[said.seen :]:
            say(Happened(event))
        if self._known is not None:
            say(Remember(self._known))

    def absent(self, number: int, say: Callable[[Message], None]) -> None:
        """The connection of an agent has closed."""
        agent = self._agents.get(number)
        if agent is not None and agent.say == say:
            agent.there = False

    def heard(self, number: int, message: FromAgent) -> None:
        """An agent says something about itself."""
        agent = self._agents[number]
        agent.heard_s, agent.there = time.monotonic(), True
        if isinstance(message, Room):
            agent.host.most = message.most

    def ended(self, number: int, worker: int, step: int, *, begun: bool) -> None:
        """A worker has ended, after it had begun to take part or before."""
        host = self._agents[number].host
        host.running.discard(worker)
        self._placed.pop(worker, None)
        host.futile = 0 if begun else host.futile + 1
        if host.futile == FUTILE_MOST:
            text = (
                f"{FUTILE_MOST} workers in a row ended before they took part: no more are started"
            )
            self._events.add("odd", step=step, text=text)

    def place(self, wanted: int) -> None:
        """Have workers started, so that so many run."""
        if self._gathers:
            return
        for number in place(self._living, wanted):
            worker, self._next = self._next, self._next + 1
            rank = self._free_rank()
            self._agents[number].host.running.add(worker)
            self._placed[worker], self._ranks[worker] = number, rank
            self._agents[number].say(Start(worker, rank))

    @property
    def room(self) -> int | None:
        """So many workers can run at present; None: as many as are wanted, or it is not known yet."""
        return None if self._gathers or not self._agents else room(self._living)

    @property
    def barren(self) -> bool:
        """Whether no worker runs, and none can be started any more."""
        living = self._living
        idle = not any(host.running or host.free for host in living)
        return bool(living) and idle and not self._gathers

    def end(self, worker: int) -> None:
        """A worker's process is to be ended."""
        agent = self._agents.get(self._placed.get(worker, -1))
        if agent is not None:
            agent.say(End(worker))

    def remember(self, known: Known) -> None:
        """All agents keep what is known."""
        self._known = known
        self.cast(Remember(known))

    def over(self, error: str | None) -> None:
        """The job is over."""
        self.cast(Over(error))

    def cast(self, message: Message) -> None:
        """Say something to all agents."""
        for agent in self._agents.values():
            agent.say(message)

    def alive(self) -> None:
        """Tell all agents now and then that the coordinator is alive."""
        now_s = time.monotonic()
        if now_s - self._told_s >= ALIVE_S:
            self._told_s = now_s
            self.cast(Alive())

    async def parted(self, most_s: float) -> None:
        """Wait until all agents have gone, having heard that the job is over."""
        end_s = time.monotonic() + most_s
        while any(a.there for a in self._agents.values()) and time.monotonic() < end_s:
            await asyncio.sleep(0.02)

    def _free_rank(self) -> int:
        """The lowest that no worker has of those that run."""
        running = {worker for host in self._living for worker in host.running}
        taken = {self._ranks[worker] for worker in running}
        return min(set(range(len(taken) + 1)) - taken)

    @property
    def _gathers(self) -> bool:
        """Whether hosts are still to come before workers are placed."""
        return not self._expected <= self._agents.keys() and time.monotonic() < self._until_s

    @property
    def _living(self) -> list[Host]:
        """Hosts of which something was heard lately."""
        now_s = time.monotonic()
        return [
            agent.host
            for _, agent in sorted(self._agents.items())
            if now_s - agent.heard_s <= self._silent_s and (agent.there or len(self._agents) == 1)
        ]

    def _happened(self, event: Event) -> None:
        if len(self._journal) < JOURNAL_MOST:
            self._journal.append(event)
        self.cast(Happened(event))
