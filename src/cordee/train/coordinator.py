"""The server that workers and agents of a job talk to: carries out what the policy decides."""

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace

import msgspec

from cordee.train.accounts import Accounts
from cordee.train.events import Events
from cordee.train.policy.effects import (
    Begin,
    Commit,
    Effect,
    Evict,
    Feed,
    Finish,
    Note,
    Plan,
    Probe,
    Restart,
    Seat,
)
from cordee.train.policy.membership import Membership
from cordee.train.policy.pace import Pace
from cordee.train.policy.trust import Checks, Trust
from cordee.train.policy.workers import Limits, Report
from cordee.train.wire import (
    LENGTH,
    MESSAGE_MOST,
    PROTOCOL,
    Answer,
    Beat,
    CaughtUp,
    Challenge,
    Committed,
    Crashed,
    Done,
    Epoch,
    Feeding,
    Finished,
    FromWorker,
    Hello,
    Leave,
    Member,
    Message,
    Probed,
    Probing,
    Progressed,
    Ready,
    Refused,
    Reported,
    Seated,
    Told,
    fits,
    new_secret,
    pack,
    planned,
)

TICK_S = 0.05
GREETING_S = 10.0
_reader = msgspec.json.Decoder(FromWorker)
_answer = msgspec.json.Decoder(Answer)


class Coordinator:
    """One job's."""

    def __init__(
        self, limits: Limits, secret: str, events: Events, checks: Checks | None = None
    ) -> None:
        self.membership = Membership(
            limits, trust=Trust(checks or Checks()), pace=Pace(limits.moves)
        )
        self.events = events
        self.finished: asyncio.Future[Finish] = asyncio.get_running_loop().create_future()
        self.lost: Callable[[int], None] = lambda worker: None
        """Called with each worker that is gone, so that another may be started."""
        self.hellos: dict[int, Hello] = {}
        self.port = 0
        self._secret = secret
        self._writers: dict[int, asyncio.StreamWriter] = {}
        self._server: asyncio.Server | None = None
        self._ticker: asyncio.Task[None] | None = None
        self._accounts = Accounts(events)
        self._models: dict[int | None, str] = {}
        """What the model is at each place."""

    async def open(self, host: str, port: int) -> None:
        """Listen. Raises `OSError` where the port is taken."""
        self._server = await asyncio.start_server(self._serve, host, port)
        self.port = self._server.sockets[0].getsockname()[1]
        self._ticker = asyncio.get_running_loop().create_task(self._tick())

    async def close(self) -> None:
        """End all connections."""
        if self._ticker is not None:
            self._ticker.cancel()
        for writer in list(self._writers.values()):
            writer.close()
        if self._server is not None:
            self._server.close()

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            self._do(self.membership.tick(time.monotonic()))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number: int | None = None
        reason = "its connection closed"
        try:
            async with asyncio.timeout(GREETING_S):
                number = await self._greet(reader, writer)
            while True:
                self._heard(number, _reader.decode(await _body(reader)))
        except (asyncio.IncompleteReadError, ConnectionError, TimeoutError):
            pass
        except (Refused, msgspec.DecodeError) as error:
            reason = str(error)
            self.events.add("refused", reason=reason)
            with suppress(ConnectionError):
                writer.write(pack(Leave(reason, error=True)))
        finally:
            writer.close()
            if number is not None and self._writers.get(number) is writer:
                self._gone(number, reason)

    async def _greet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> int:
        """Let a worker in that knows the secret and fits the others. Raises `Refused`."""
        nonce = new_secret()
        writer.write(pack(Challenge(nonce)))
        answer = _answer.decode(await _body(reader))
        if answer.protocol != PROTOCOL:
            raise Refused(
                f"this job speaks protocol {PROTOCOL}, the worker {answer.protocol}: install the "
                "same version of cordee on all hosts"
            )
        if not fits(self._secret, nonce, answer.proof):
            raise Refused("the worker does not know the secret of this job")
        hello = _reader.decode(await _body(reader))
        if not isinstance(hello, Hello):
            raise Refused("a worker says hello first")
        self._fits(hello)
        self.hellos[hello.worker], self._writers[hello.worker] = hello, writer
        self.events.add("worker", worker=hello.worker, host=hello.host, pid=hello.pid)
        self._do(self.membership.joined(hello.worker, time.monotonic()))
        return hello.worker

    def _fits(self, hello: Hello) -> None:
        if hello.worker in self._writers:
            raise Refused(f"there is a worker {hello.worker} already")
        limits = self.membership.limits
        if not self._models and not self._writers:  # as the program says that comes first
            limits = self.membership.limits = replace(limits, replica=hello.replica)
        if hello.replica != limits.replica:
            raise Refused(
                f"worker {hello.worker} has a replica of {hello.replica} workers, the job of {limits.replica}"
            )
        if limits.workers % limits.replica:
            error = f"{limits.workers} workers are no whole replicas of {limits.replica}: give another --workers"
            self._do(self.membership.stopped(error))
        elif hello.parameters:
            self._same(hello.worker, hello.shards, hello.parameters)

    def _same(self, number: int, shards: int, parameters: str) -> None:
        """A worker has the shards and the model of the others. Raises `Refused`."""
        limits = self.membership.limits
        if not limits.shards:
            limits = self.membership.limits = replace(limits, shards=shards)
        if shards != limits.shards:
            raise Refused(f"worker {number} has {shards} shards, the job {limits.shards}")
        known = self.membership.workers.get(number)
        place = known.place if known is not None else 0
        if self._models.setdefault(place, parameters) != parameters:
            raise Refused(f"worker {number} has another model than the others")

    def _heard(self, number: int, message: FromWorker) -> None:
        job, now_s = self.membership, time.monotonic()
        match message:
            case Ready():
                if message.parameters:
                    self._same(number, message.shards, message.parameters)
                self.events.add("ready", worker=number)
                self._do(job.ready(number, now_s))
            case Reported():
                report = Report(message.step, message.reduced, message.held, message.kept)
                self._do(job.reported(number, message.epoch, report, now_s))
            case Done():
                self._accounts.done(number, job.fellows(number), message.loss, message.sent_bytes)
                self._do(job.done(number, message.epoch, message.step, now_s, message.vote))
            case CaughtUp():
                self.events.add("caught-up", worker=number, step=message.step)
                self._do(job.caught_up(number, message.step, now_s))
            case Crashed():
                self.events.add("crashed", worker=number, error=message.error, trace=message.trace)
                self._forget(number)
                self._do(job.crashed(number, message.error, now_s))
                self.lost(number)
            case Finished():
                self._do(job.finished(number, now_s))
            case _:
                self._sign(number, message, now_s)

    def _sign(self, number: int, message: FromWorker, now_s: float) -> None:
        """What changes nothing by itself."""
        match message:
            case Beat():
                self.membership.beat(number, message.phase, message.shard_s, now_s)
            case Progressed():
                self.membership.progressed(number, now_s)
            case Probed():
                self.events.add(
                    "probed", worker=number, other=message.other, bytes_per_s=message.bytes_per_s
                )
                self._do(self.membership.probed(number, message.other, message.bytes_per_s))
            case Told():
                self.events.add(message.kind, worker=number, **message.values)
            case _:
                raise Refused("a worker says hello once")

    def gone(self, number: int, reason: str) -> None:
        """A worker's process is seen to have ended."""
        if number in self._writers:
            self._gone(number, reason)

    def _gone(self, number: int, reason: str) -> None:
        self._forget(number)
        if not self.membership.over:
            self.events.add("lost", worker=number, reason=reason, step=self.membership.step)
        self._do(self.membership.closed(number, time.monotonic(), f"worker {number}: {reason}"))
        self.lost(number)

    def _forget(self, number: int) -> None:
        writer = self._writers.pop(number, None)
        if writer is not None:
            writer.close()

    def _do(self, effects: Sequence[Effect]) -> None:
        for effect in effects:
            match effect:
                case Begin():
                    self._begin(effect)
                case Plan():
                    self._planned(effect)
                case Commit():
                    self._commit(effect)
                case Note() | Restart() | Seat():
                    self._note(effect)
                case Probe():
                    self._probe(effect)
                case Feed():
                    self.events.add("feed", worker=effect.joiner, source=effect.source)
                    to = self.hellos[effect.joiner].feed
                    self._say(effect.source, Feeding(effect.joiner, to))
                case Evict():
                    self._evict(effect)
                case Finish():
                    self._finish(effect)

    def _note(self, effect: Note | Restart | Seat) -> None:
        if isinstance(effect, Seat):
            self.events.add("seat", worker=effect.worker, place=effect.place)
            self._say(effect.worker, Seated(effect.place))
        elif isinstance(effect, Note):
            self.events.add(effect.kind, step=self.membership.step, text=effect.text)
        else:
            self.events.add("restart", reason=effect.reason, count=effect.count)

    def _commit(self, commit: Commit) -> None:
        more: dict[str, object] = {"skipped": True} if commit.skip else {}
        if commit.late is not None:
            more |= {"last": commit.late.worker, "waited_s": round(commit.late.waited_s, 4)}
        if commit.owners:
            more["owners"] = list(commit.owners)
        more |= self._accounts.committed(time.monotonic())
        if commit.total is not None:
            more["loss"] = commit.total.loss
        self.events.add("commit", step=commit.step, epoch=commit.epoch, **more)
        self._cast(Committed(commit.epoch, commit.step, commit.skip, commit.owners, commit.total))

    def _evict(self, evict: Evict) -> None:
        self.events.add("evicted", worker=evict.worker, reason=evict.reason, guilty=evict.guilty)
        self._say(evict.worker, Leave(evict.reason, error=False))
        self._forget(evict.worker)
        self.lost(evict.worker)

    def _probe(self, probe: Probe) -> None:
        """The first of each pair measures."""
        self.events.add("probe", step=self.membership.step)
        for number in {pair[0] for pair in probe.pairs}:
            peers = [other for one, other in probe.pairs if one == number]
            self._say(number, Probing(tuple(self._member(other) for other in peers)))

    def _member(self, number: int) -> Member:
        return Member(number, self.hellos[number].store, self.hellos[number].feed)

    def _begin(self, begin: Begin) -> None:
        self.events.add(
            "epoch",
            epoch=begin.epoch,
            step=begin.step,
            members=list(begin.members),
            lost=list(begin.lost),
            reason=begin.reason,
        )
        members = tuple(self._member(number) for number in begin.members)
        told = (begin.epoch, begin.step, members, begin.lost, begin.reason)
        self._cast(Epoch(*told, again=begin.again, anew=begin.anew))

    def _planned(self, plan: Plan) -> None:
        self.events.add(
            "plan",
            epoch=plan.epoch,
            step=plan.step,
            restore=list(plan.restore),
            owners=list(plan.owners),
            **({"teams": [list(team) for team in plan.teams]} if plan.teams else {}),
        )
        self._cast(planned(plan, self.membership.trust.checks))

    def _finish(self, finish: Finish) -> None:
        self._accounts.tell(time.monotonic())
        self.events.add("finish", error=finish.error, step=self.membership.step)
        reason = finish.error or "the job is done"
        for number in list(self._writers):
            self._say(number, Leave(reason, error=finish.error is not None))
        if not self.finished.done():
            self.finished.set_result(finish)

    def _cast(self, message: Message) -> None:
        for number in self.membership.members:
            self._say(number, message)

    def _say(self, number: int, message: Message) -> None:
        writer = self._writers.get(number)
        if writer is not None and not writer.is_closing():
            writer.write(pack(message))


async def _body(reader: asyncio.StreamReader) -> bytes:
    (size,) = LENGTH.unpack(await reader.readexactly(LENGTH.size))
    if size > MESSAGE_MOST:
        raise Refused(f"a message of {size} bytes is none of this protocol")
    return await reader.readexactly(size)
