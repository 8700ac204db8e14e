"""A whole job from one command, as one host sees it: its workers, what it is told, and the coordinator if it leads."""

import asyncio
import math
import os
import signal
import time
from collections.abc import Callable
from typing import cast

import msgspec

from cordee.core.errors import CordeeError, UsageError
from cordee.core.events import Event, Events
from cordee.train.agent import END_S, Agent, how
from cordee.train.checkpoint.custody import custody
from cordee.train.door import Connection, Door, entered
from cordee.train.host_wire import (
    Alive,
    End,
    Ended,
    Happened,
    Interrupted,
    Over,
    Present,
    Remember,
    Room,
    Start,
    ToAgent,
)
from cordee.train.order import Order
from cordee.train.peers import Peers
from cordee.train.policy.council import Council
from cordee.train.recoveries import Recoveries
from cordee.train.rendezvous import Rendezvous
from cordee.train.seat import Charge, Seat
from cordee.train.tasks import Tasks, on_failure
from cordee.train.wire import ALIVE_S, Answer, Leads, Leave, Refused, new_secret
from cordee.train.worker.job import Job, host_name

EVENTS = "events.jsonl"
AGAIN_S = 0.05
INTERRUPT_S = 2.0
"""So long a coordinator may take to end a job that is interrupted."""
INTERRUPTED = "interrupted"
LEAVES = "this host was told to end: where there are others, they go on"
_reader = msgspec.json.Decoder(ToAgent)


class Failed(CordeeError):
    """The job could not be brought to its end."""


class Gone(Failed):
    """This host has left a job that others go on with."""

    exit_code = 128 + signal.SIGTERM


async def launch(order: Order, watch: Callable[[Event], None]) -> None:
    """Run a job to its end. Raises `Failed` with what stopped it."""
    events = Events(order.folder / EVENTS)
    events.watch(watch)
    Recoveries(events)
    events.add("job", **order.told())
    with custody(order.keep, order.folder, events, shared=order.meeting is not None):
        await _launch(order, events)
    events.close()


async def _launch(order: Order, events: Events) -> None:
    launcher = _Launcher(order, order.secret or new_secret(), events)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(number, launcher.interrupt)
    loop.add_signal_handler(signal.SIGTERM, launcher.leave)
    await launcher.run()


class _Launcher:
    """Does on one host what the coordinator says, and keeps the coordinator running where this host leads."""

    def __init__(self, order: Order, secret: str, events: Events) -> None:
        self._order, self._secret, self._events = order, secret, events
        self._address = order.place[0]
        job = Job(
            secret=secret,
            workers=order.limits.workers,
            shards=order.limits.shards,
            mode=order.mode,
            keep=order.keep,
            host=self._address,
            others=order.others,
        )
        self._agent = Agent(order.program, job, self._ended)
        self._over: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()
        self._door = Door(secret, self._enter, self._refused, agent=True)
        charge = Charge(
            secret=secret, limits=order.limits, checks=order.checks, spares=order.spares
        )
        self._seat = Seat(charge, self._address, order.folder, self._lost, self._end)
        self._host = 0
        self._peers: Peers | None = None
        self._rendezvous: Rendezvous | None = None
        self._coordinator: Connection | None = None
        self._session: asyncio.Task[None] | None = None
        self._beside = Tasks()
        self._unsaid: list[Ended] = []
        self._ends: dict[int, str] = {}
        """Workers that have ended, and how."""
        self._interrupted = False
        self._seen, self._heard_s = 0, 0.0
        self._led_s = math.inf
        """When a host led last; inf: that none does is told already, or none has yet."""
        events.watch(self._see)

    async def run(self) -> None:
        """Until the job is over. Raises `Failed` with what stopped it."""
        port = await self._open()
        self._agent.belongs(f"{self._address}:{port}")
        loop = asyncio.get_running_loop()
        on_failure(self._failed)
        work = self._beside.start(self._take_part(f"{self._address}:{port}"))
        members: tuple[int, ...] = ()
        try:
            error = await self._over
            members = self._seat.known.members if error is None else ()
        finally:
            work.cancel()
            telling = loop.call_later(END_S + 0.5, self._tell_waiting)
            await self._agent.stop(members)
            telling.cancel()
            await self._part()
        if self._interrupted:
            raise Failed(INTERRUPTED)
        if error == LEAVES:
            raise Gone(LEAVES)
        if error is not None:
            raise Failed(f"{error}; {self._last_words()}")
        for worker in members:
            if self._ends.get(worker, how(0)) != how(0):
                text = f"all steps are made, but worker {worker} failed after them"
                raise Failed(f"{text}: {self._ends[worker]}; {self._last_words(worker)}")

    def _failed(self, error: str, trace: str) -> None:
        """A mistake of ours ends the job: it would wait for ever."""
        self._events.add("agent-failed", host=self._host, error=error, trace=trace)
        self._end(f"the agent of this host failed: {error}")

    async def _open(self) -> int:
        """Listen; gives the port. Raises `UsageError` where it cannot."""
        try:
            return await self._door.open(self._order.place)
        except OSError as error:
            at = ":".join(map(str, self._order.place))
            why = f"{at}: {os.strerror(error.errno or 0)}: this host's agent cannot listen there"
            raise UsageError(f"{why}; --address HOST:PORT gives another place") from error

    def _tell_waiting(self) -> None:
        self._events.add("waits", workers=sorted(self._agent.workers))

    async def _take_part(self, place: str) -> None:
        """Find the other hosts, and do as the coordinator says."""
        meeting = self._order.meeting
        if meeting is None:
            self._seat.take(0, (self._host,), None)
        else:
            self._rendezvous = Rendezvous(meeting, place, self._secret, self._refused)
            try:
                roster = await self._rendezvous.found()
            except CordeeError as error:
                self._end(str(error))
                return
            self._host = roster.you
            self._events.add("hosts", host=roster.you, hosts=list(roster.hosts.values()))
            silent_s = self._order.limits.silent_s
            self._peers = Peers(roster, (meeting.job, self._secret), silent_s, self._moved)
            await self._seat.prepare()
            self._peers.open()
        await asyncio.gather(self._follow(), self._live())

    async def _part(self) -> None:
        """Leave nothing behind."""
        if self._session is not None:
            self._session.cancel()
        if self._coordinator is not None:
            self._coordinator.close()
        await self._seat.end()
        if self._peers is not None:
            self._peers.close()
        self._door.close()

    def interrupt(self) -> None:
        """Someone wants the job to end."""
        self._interrupted = True
        self._agent.kill()
        if self._coordinator is not None:
            self._coordinator.say(Interrupted())
        asyncio.get_running_loop().call_later(INTERRUPT_S, self._end, INTERRUPTED)

    def leave(self) -> None:
        """This host is to end: alone, so does the job; else others have what it has, and lead where it has led."""
        if self._peers is None:
            self.interrupt()
            return
        self._peers.close()
        self._seat.yields()
        self._door.close()
        self._end(LEAVES)

    def _end(self, error: str | None) -> None:
        """The job is over."""
        if error in (INTERRUPTED, LEAVES):
            self._agent.kill()
        if not self._over.done():
            self._over.set_result(error)

    async def _enter(self, answer: Answer, connection: Connection) -> None:
        """A worker of this host asks where the coordinator is, or another host comes."""
        if answer.role == "host" and self._peers is not None:
            await self._peers.serve(connection)
        elif answer.role == "host" and self._rendezvous is not None:
            await self._rendezvous.serve(connection)
        else:
            connection.say(Leads(await self._where()))

    async def _where(self) -> str:
        """HOST:PORT of the coordinator, when there is one."""
        while not (to := self._to):
            await asyncio.sleep(AGAIN_S)
        return to

    @property
    def _to(self) -> str:
        if self._peers is not None:
            return self._peers.coordinator
        return self._seat.to

    def _moved(self) -> None:
        """Another host leads, or none."""
        assert self._peers is not None
        council, now_s = self._peers.council, time.monotonic()
        if council.leads and not self._seat.taken and now_s < council.until_s():
            known = self._seat.known
            hosts = council.living(now_s) if known.following else council.agreed.voters
            self._seat.take(known.term + 1 if known.following else 0, hosts, council.until_s())
            self._peers.seat = self._seat.to
            self._events.add("leads", host=self._host, term=council.term, hosts=list(hosts))
        elif not council.leads and self._seat.taken:
            self._peers.seat = ""
            self._seat.yields()
            self._events.add("yields", host=self._host, leader=council.leader)
        if self._session is not None:
            self._session.cancel()

    def _refused(self, reason: str) -> None:
        self._events.add("refused", reason=reason)

    # What the coordinator says.

    async def _follow(self) -> None:
        """Do as the coordinator says, whichever it is."""
        while True:
            to = await self._where()
            self._session = self._beside.start(self._hear(to))
            await asyncio.wait({self._session})
            self._coordinator, self._seen = None, 0
            await asyncio.sleep(AGAIN_S)

    async def _hear(self, to: str) -> None:
        """Hear one coordinator."""
        try:
            connection = await entered(to, self._secret, "agent")
        except Refused as error:
            self._end(str(error))
            return
        except OSError:
            return
        self._say_all(connection)
        try:
            while True:
                try:
                    message = await connection.hear(_reader)
                except (asyncio.IncompleteReadError, OSError):
                    return
                await self._told(message)
        finally:
            if not self._over.done():
                connection.close()

    def _say_all(self, connection: Connection) -> None:
        """What a coordinator must know of this host."""
        running = self._agent.ranks
        connection.say(Present(self._host, host_name(), running, self._agent.most, self._seen))
        for ended in self._unsaid:
            connection.say(ended)
        self._unsaid.clear()
        self._coordinator, self._heard_s = connection, time.monotonic()

    async def _told(self, message: ToAgent) -> None:
        self._heard_s = time.monotonic()
        match message:
            case Start():
                await self._agent.start(message.worker, message.rank)
            case End():
                self._agent.signal(message.worker, signal.SIGKILL)
            case Happened():
                self._seen += 1
                self._events.put(message.event)
            case Remember():
                if message.known.newness >= self._seat.known.newness:
                    self._seat.known = message.known
            case Over():
                self._end(message.error)
            case Leave():
                self._end(message.reason)
            case _:
                pass

    async def _live(self) -> None:
        while True:
            await asyncio.sleep(ALIVE_S)
            if self._coordinator is not None:
                self._coordinator.say(Alive())
                self._watch_coordinator()
            if self._peers is not None:
                self._see_leader(council := self._peers.council)
                if self._seat.taken:
                    self._seat.extend(council.until_s(), council.living(time.monotonic()))

    def _see_leader(self, council: Council) -> None:
        """Tell, once, that nobody leads for so long that another host would."""
        now_s = time.monotonic()
        if council.led(now_s):
            self._led_s = now_s
        elif now_s - self._led_s > council.silent_s:
            self._led_s = math.inf
            self._events.add("leaderless", host=self._host)

    def _watch_coordinator(self) -> None:
        """One that was stopped, or is stuck, is ended, so that another one takes its place."""
        now_s = time.monotonic()
        if now_s - self._heard_s > self._order.limits.silent_s:
            self._heard_s = now_s
            if self._seat.taken:
                self._seat.kill()
            elif self._session is not None:
                self._session.cancel()

    # What happens here.

    def _lost(self, reason: str) -> None:
        self._events.add("coordinator-lost", reason=reason)

    def _see(self, event: Event) -> None:
        chips, now_s = self._agent.chips, time.monotonic()
        if event.get("guilty"):
            chips.distrust(cast(int, event["worker"]))
            self._say_room()
        elif event.get("link") and (rest_s := chips.rest(cast(int, event["worker"]), now_s)):
            self._say_room()
            asyncio.get_running_loop().call_later(rest_s, self._say_room)

    def _say_room(self) -> None:
        if self._coordinator is not None:
            self._coordinator.say(Room(self._agent.most))

    def _ended(self, worker: int, reason: str) -> None:
        self._ends[worker] = reason
        if self._over.done():
            self._events.add("exit", worker=worker, reason=reason)
        elif self._coordinator is not None:
            self._coordinator.say(Ended(worker, reason))
        else:
            self._unsaid.append(Ended(worker, reason))

    def _last_words(self, worker: int | str = "*") -> str:
        """Where the end of what a worker wrote is found, and that end; of all workers, the last who wrote."""
        name = "*.log" if worker == "*" else f"worker-{worker}.log"
        logs = sorted(self._order.program.logs.glob(name), key=lambda p: p.stat().st_mtime)
        logs = [log for log in logs if log.stat().st_size]
        if not logs:
            return "nothing was written"
        lines = logs[-1].read_text("utf-8", "replace").strip().splitlines()[-12:]
        return "\n".join([f"{logs[-1]} ends so:", *(f"  {line}" for line in lines)])
