"""The server that workers and agents of a job talk to: carries out what the policy decides."""

import asyncio
import math
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import msgspec

from cordee.core.events import Event, Events
from cordee.train.accounts import Accounts
from cordee.train.crew import Crew
from cordee.train.door import GREETING_S, Connection, Door
from cordee.train.herald import Herald
from cordee.train.host_wire import Ended, FromAgent, Interrupted, Present
from cordee.train.muster import Muster
from cordee.train.policy.effects import (
    Effect,
    Evict,
    Finish,
)
from cordee.train.policy.succession import EPOCHS, Known, Return, known, recalled
from cordee.train.policy.trust import Checks
from cordee.train.policy.workers import Limits, Report
from cordee.train.tasks import Tasks
from cordee.train.wire import (
    Answer,
    Beat,
    CaughtUp,
    Crashed,
    Done,
    Failed,
    Finished,
    FromWorker,
    Hello,
    Leave,
    Probed,
    Progressed,
    Ready,
    Refused,
    Reported,
    Seen,
    Strays,
    Told,
)

TICK_S = 0.05
_reader = msgspec.json.Decoder(FromWorker)
_of_agents = msgspec.json.Decoder(FromAgent)


class Expired(Exception):
    """Others may have another coordinator by now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reign:
    """What a coordinator begins with."""

    spares: int = 0
    before: Known = field(default_factory=Known)
    """What one before it knew."""
    hosts: tuple[int, ...] = ()
    """Those that live, whose agents are to come."""


class Coordinator:
    """One job's."""

    def __init__(
        self,
        limits: Limits,
        secret: str,
        events: Events,
        checks: Checks | None = None,
        reign: Reign | None = None,
    ) -> None:
        reign = reign or Reign()
        self._spares, self._term = reign.spares, reign.before.term
        self.membership = recalled(limits, checks or Checks(), reign.before)
        self.events = events
        self.finished: asyncio.Future[Finish] = asyncio.get_running_loop().create_future()
        self.until_s = math.inf
        """Until then it may lead."""
        self.port = 0
        self.agents = Muster(events, limits.silent_s, reign.before, reign.hosts)
        events.watch(self._follows)
        self._error = reign.before.error
        self._door = Door(secret, self._enter, lambda why: events.add("refused", reason=why))
        self._beside = Tasks()
        self._accounts = Accounts(events)
        self._crew = Crew(dict(reign.before.models))
        self._herald = Herald(events, self._crew, self._accounts)
        self._return: Return | None = None
        if self._term and not self.membership.over:
            until_s = time.monotonic() + limits.silent_s
            self._return = Return(
                self.membership.members,
                self.agents.placed,
                until_s,
                self.membership.epoch,
                frozenset(number for number, _ in reign.before.seats),
            )
            self._return.living(reign.hosts)
        self._early: list[int] = []
        """Workers that begin,"""
        self._waiting: list[int] = []
        """and those that are ready, while members come back."""

    async def open(self, at: tuple[str, int] | socket.socket) -> None:
        """Listen. Raises `OSError` where the port is taken."""
        self.port = await self._door.open(at)
        self._beside.start(self._tick())

    async def close(self) -> None:
        """End all connections."""
        self._beside.cancel()
        self._door.close()

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            now_s = time.monotonic()
            if self._return is None:
                self._do(self.membership.tick(now_s))
            elif self._return.over(now_s):
                self._resume(self._return)
            self._place()
            self.agents.alive()

    def _resume(self, found: Return) -> None:
        """All members that live have come back: go on with them."""
        self._return = None
        job = self.membership
        job.members = tuple(sorted(found.members))
        job.epoch = max(job.epoch, found.epoch, self._term * EPOCHS)
        self.events.add(
            "succeeded",
            term=self._term,
            # A commit of which no member has heard is none: it is agreed upon again.
            step=found.made + 1 if found.back else job.step,
            back=sorted(found.back),
            members=job.members,
        )
        job.heard_of(found.made, found.total, found.skipped)
        self._do(job.resumed(sorted(found.back), "there is another coordinator"))
        now_s = time.monotonic()
        for number in filter(self._crew.has, self._early):
            ways, host = self._crew.hellos[number].ways, self.agents.placed.get(number, 0)
            self._do(job.joined(number, now_s, ways=ways, host=host))
        for number in self._waiting:
            self._do(job.ready(number, now_s))

    async def _enter(self, answer: Answer, connection: Connection) -> None:
        if answer.role == "agent":
            await self._serve_agent(connection)
        else:
            await self._serve(connection)

    async def _serve(self, connection: Connection) -> None:
        """Hear a worker, until it goes."""
        async with asyncio.timeout(GREETING_S):
            hello = await connection.hear(_reader)
        number, reason = self._greet(hello, connection), "its connection closed"
        try:
            while True:
                self._heard(number, await connection.hear(_reader))
        except (Refused, msgspec.DecodeError) as error:
            reason = str(error)
            raise
        finally:
            if self._crew.has(number, connection):
                self._gone(number, reason)

    async def _serve_agent(self, connection: Connection) -> None:
        """Hear the agent of a host, until it goes."""
        said = await connection.hear(_of_agents)
        if not isinstance(said, Present):
            raise Refused("an agent says first that it is there")
        self.agents.present(said, connection.say)
        self.events.add("agent", host=said.host, name=said.name, workers=list(said.workers))
        if self._return is not None:
            self._return.present(said.host, said.workers)
        if self.membership.over:
            self.agents.over(self._error)
        try:
            while True:
                self._of_agent(said.host, await connection.hear(_of_agents))
        finally:
            self.agents.absent(said.host, connection.say)

    def _of_agent(self, host: int, message: FromAgent) -> None:
        self.agents.heard(host, message)
        if isinstance(message, Ended):
            self.events.add("exit", worker=message.worker, reason=message.reason)
            begun = message.worker in self._crew.took_part
            self.agents.ended(host, message.worker, self.membership.step, begun=begun)
            if self._crew.has(message.worker):
                self._gone(message.worker, message.reason)
            elif self._return is not None:
                self._return.ended(message.worker)
        elif isinstance(message, Interrupted):
            self.events.add("interrupted")
            self._do([Finish("interrupted")])
        self._place()

    def _place(self) -> None:
        """Have as many workers started as there are to be: spares only once the others have begun."""
        job = self.membership
        if job.over or self._return is not None:
            return
        self.agents.place(job.limits.workers + (self._spares if job.epoch > 0 else 0))
        self._look_for_room()
        self._do(job.keepers.decide(job.workers, job.members, job.limits.replica))
        if self.agents.barren:
            self._do([Finish("workers end before they are ready")])

    def _look_for_room(self) -> None:
        """With how many workers the job can begin, where it has to."""
        job, room = self.membership, self.agents.room
        if room == job.limits.room:
            return
        job.limits = replace(job.limits, room=room)
        least = max(job.limits.least, job.limits.replica)
        if room is not None and room < least:
            text = f"there is room for {room} workers, and the job needs {least}: it waits"
            self.events.add("odd", step=job.step, text=text)

    def _follows(self, event: Event) -> None:
        if event["kind"] in ("epoch", "plan", "seat", "commit", "exit", "finish"):
            now = known(self.membership, self._term, self._crew.models, self._error)
            placed = tuple(sorted(self.agents.placed.items()))
            self.agents.remember(replace(now, placed=placed, following=self.agents.following))

    def _greet(self, hello: FromWorker, connection: Connection) -> int:
        """Let a worker in that fits the others. Raises `Refused`."""
        if not isinstance(hello, Hello):
            raise Refused("a worker says hello first")
        number, back = hello.worker, self._return
        came = back is not None and back.came(hello)
        if hello.epoch and not came:
            connection.say(Leave("the job went on without it", error=False))
            raise ConnectionError
        job = self.membership
        job.limits = self._crew.enter(hello, job.limits, connection)
        if job.over:
            self._crew.say(number, Leave(self._error or "the job is done", error=bool(self._error)))
        elif job.limits.workers % job.limits.replica:
            counts = f"{job.limits.workers} workers are no whole replicas of {job.limits.replica}"
            self._do(job.stopped(f"{counts}: give another --workers"))
        self.events.add("worker", worker=number, host=hello.host, pid=hello.pid)
        if back is not None and not came and hello.place is None:
            self._early.append(number)
        else:
            host = self.agents.placed.get(number, 0)
            self._do(job.joined(number, time.monotonic(), hello.place, hello.ways, host))
        return number

    def _same(self, number: int, said: Ready) -> None:
        """A worker has the shards and the model of the others with its place. Raises `Refused`."""
        worker = self.membership.workers.get(number)
        place = worker.place or 0 if worker is not None else 0
        limits = self.membership.limits
        self.membership.limits = self._crew.same((number, place), said, limits)

    def _heard(self, number: int, message: FromWorker) -> None:
        job, now_s = self.membership, time.monotonic()
        if self._return is not None and not isinstance(message, Beat | Progressed | Told):
            self._heard_early(number, message)
            return
        match message:
            case Ready():
                if message.parameters:
                    self._same(number, message)
                self.events.add("ready", worker=number)
                self._do(job.ready(number, now_s, message.lost))
            case Reported():
                said = (message.step, message.reduced, message.held, message.kept, message.apart)
                report = Report(*said)
                self._do(job.reported(number, message.epoch, report, now_s))
            case Done():
                self._accounts.done(number, job.fellows(number), message.loss, message.sent_bytes)
                self._do(job.done(number, message.epoch, message.step, now_s, message.vote))
            case CaughtUp():
                self.events.add("caught-up", worker=number, step=message.step)
                self._do(job.caught_up(number, message.step, now_s))
            case Crashed():
                self._crashed(number, message)
                self._crew.forget(number)
                self._do(job.crashed(number, message.error, now_s, message.device))
                self._end(number)
            case Finished():
                self._do(job.finished(number, now_s))
            case _:
                self._sign(number, message, now_s)

    def _heard_early(self, number: int, message: FromWorker) -> None:
        """While members come back: what one says of an epoch before is asked for again."""
        if isinstance(message, Ready):
            if message.parameters:
                self._same(number, message)
            self._waiting.append(number)
        elif isinstance(message, Crashed):
            self._crashed(number, message)
            self._gone(number, f"its program failed: {message.error}")

    def _crashed(self, number: int, said: Crashed) -> None:
        device = {"device": said.device, "guilty": said.lasting} if said.device else {}
        self.events.add("crashed", worker=number, error=said.error, trace=said.trace, **device)

    def _sign(self, number: int, message: FromWorker, now_s: float) -> None:
        """What changes nothing by itself."""
        match message:
            case Beat():
                said = (message.phase, message.shard_s, now_s, message.moved_bytes)
                self.membership.beat(number, *said)
            case Failed():
                self.events.add("failed", worker=number, error=message.error)
                if message.epoch == self.membership.epoch:
                    self.membership.ties.standstill.failed(number, now_s)
            case Seen():
                if not message.reached:
                    self.events.add("unreached", worker=number, other=message.other)
                pair = (number, message.other)
                self.membership.ties.standstill.seen(message.look, pair, reached=message.reached)
            case Progressed():
                self.membership.progressed(number, now_s)
            case Strays(stray, drift):
                self.events.add("strays", worker=number, steps=stray.steps, drift=drift)
                self.membership.ties.strays[number] = stray
            case Probed():
                self.events.add(
                    "probed", worker=number, other=message.other, bytes_per_s=message.bytes_per_s
                )
                self._do(self.membership.probed(number, message.other, message.bytes_per_s))
            case Told():
                self.events.add(message.kind, worker=number, **message.values)
            case _:
                raise Refused("a worker says hello once")

    def _gone(self, number: int, reason: str) -> None:
        self._crew.forget(number)
        if not self.membership.over:
            self.events.add("lost", worker=number, reason=reason, step=self.membership.step)
        if self._return is not None:
            self._return.ended(number)
            self.membership.workers.pop(number, None)
        else:
            self._do(self.membership.closed(number, time.monotonic(), f"worker {number}: {reason}"))
        self._end(number)

    def _end(self, number: int) -> None:
        """One that hangs or is cut off is ended, so that another can take its place."""
        if not self.finished.done():
            self.agents.end(number)

    @property
    def _leads(self) -> bool:
        """Whether it may still lead: one that may not tells nobody anything."""
        if time.monotonic() <= self.until_s:
            return True
        if not self.finished.done():
            self.finished.set_exception(Expired())
        return False

    def _do(self, effects: Sequence[Effect]) -> None:
        for effect in effects if effects and self._leads else ():
            match effect:
                case Evict():
                    self._evict(effect)
                case Finish():
                    self._finish(effect)
                case _:
                    self._herald.tell(effect, self.membership)

    def _evict(self, evict: Evict) -> None:
        why = {"reason": evict.reason, "guilty": evict.guilty, "link": evict.link}
        self.events.add("evicted", worker=evict.worker, **why)
        self._crew.say(evict.worker, Leave(evict.reason, error=False))
        self._crew.forget(evict.worker)
        self._end(evict.worker)

    def _finish(self, finish: Finish) -> None:
        self._accounts.tell(time.monotonic())
        self.membership.over, self._error = True, finish.error
        self.events.add("finish", error=finish.error, step=self.membership.step)
        self.agents.over(finish.error)
        reason = finish.error or "the job is done"
        for number in self._crew.connected:
            self._crew.say(number, Leave(reason, error=finish.error is not None))
        if not self.finished.done():
            self.finished.set_result(finish)
