"""A worker's line to the coordinator: a thread that listens, beats, and frees what is stuck."""

import queue
import socket
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Protocol, TypeVar

import msgspec
from msgspec.structs import replace

from cordee.core.errors import CordeeError
from cordee.train.policy.workers import WAITING, Phase
from cordee.train.wire import (
    Answer,
    Beat,
    Challenge,
    Committed,
    Copying,
    Epoch,
    Feeding,
    FromWorker,
    Hello,
    Leads,
    Leave,
    Looking,
    Planned,
    Probing,
    Ready,
    Refused,
    Seated,
    Seen,
    ToWorker,
    Turn,
    address,
    pack,
    read_body,
    sign,
)
from cordee.train.worker.probe import probe, reached
from cordee.train.worker.sockets import belongs_elsewhere

BEAT_S = 0.2
CONNECT_S = 20.0
RETURN_S = 60.0
"""So long a worker looks for another coordinator when its own is gone."""
AGAIN_S = 0.05
ANSWER_S = 0.5
"""So long it waits at first for one to answer: what leads may be stopped, and another one soon be there."""
MEANWHILE_S = 0.05
_reader = msgspec.json.Decoder(ToWorker)
M = TypeVar("M", Planned, Committed)


class Changed(Exception):
    """A new epoch has begun."""


class Left(CordeeError):
    """The coordinator says that this worker is to end."""

    def __init__(self, reason: str, *, error: bool) -> None:
        super().__init__(reason)
        self.exit_code = 1 if error else 0


class Control(Protocol):
    """What a worker tells, and hears."""

    shard_s: float
    """How long the last shard took."""

    @property
    def pending(self) -> Epoch | None:
        """The newest epoch, if the worker has not taken it up yet."""

    def say(self, message: FromWorker) -> None: ...

    def enter(self, phase: Phase) -> None:
        """The worker is at something else now."""

    def take_epoch(self) -> Epoch:
        """Wait for an epoch and take it up. Raises `Left`."""

    def expect(self, kind: type[M], epoch: int, meanwhile: Callable[[], None]) -> M:
        """Wait for a message of an epoch. Raises `Changed` where a newer one begins, `Left`.

        `meanwhile` is called now and then.
        """

    def wait_change(self, most_s: float) -> bool:
        """Wait for a new epoch; gives whether there is one. Raises `Left`."""

    def close(self) -> None: ...


class Line:
    """The line of a worker to a coordinator elsewhere."""

    def __init__(
        self,
        to: str,
        secret: str,
        hello: Hello,
    ) -> None:
        self._connection = _greeted(to, secret)
        self._to, self._secret, self._hello = to, secret, hello
        self._ready: Ready | None = None
        self.on_lost: Callable[[int], None] = lambda epoch: None
        """Called with a new epoch where what is under way may be stuck. From another thread, as those that follow."""
        self.on_epoch: Callable[[int], None] = lambda epoch: None
        """Called with every new epoch."""
        self.on_feeding: Callable[[Feeding], None] = lambda feeding: None
        self.on_copying: Callable[[str], None] = lambda to: None
        self.waiting_s: Callable[[], float] = lambda: 0.0
        """Since when the program waits for others of its replica; 0: it does not."""
        self.moved_bytes: Callable[[], int] = lambda: -1
        """What has come and gone over connections to other members; -1: not known."""
        self.device_answers: Callable[[float], bool] = lambda most_s: True
        """Whether this worker's device answers in that time."""
        self._seat: queue.SimpleQueue[Seated] = queue.SimpleQueue()
        self._sending = threading.Lock()
        self._inbox: queue.SimpleQueue[Turn] = queue.SimpleQueue()
        self._epoch: Epoch | None = None
        self._taken = 0
        self._left: Leave | None = None
        self._phase: Phase = "outside"
        self.shard_s = 0.0
        self._closed = False
        self._returned = False
        """Whether the coordinator is another one, and has begun no epoch yet: what the one before was about to tell,
        of a group to form or of a member that hangs, some may wait for in vain."""
        self.say(hello)
        for work in (self._listen, self._beat):
            threading.Thread(target=work, name=f"train{work.__name__}", daemon=True).start()

    @property
    def pending(self) -> Epoch | None:
        epoch = self._epoch
        return epoch if epoch is not None and epoch.epoch > self._taken else None

    def say(self, message: FromWorker) -> None:
        """Tell the coordinator. One that is gone is noticed where it is listened to."""
        if isinstance(message, Ready):
            self._ready = message
        with self._sending, suppress(OSError):
            self._connection.sendall(pack(message))

    def enter(self, phase: Phase) -> None:
        self._phase = phase
        self.say(Beat(phase, self.shard_s))

    def take_epoch(self) -> Epoch:
        while (epoch := self.pending) is None:
            self._next()
        self._taken = epoch.epoch
        return epoch

    def expect(self, kind: type[M], epoch: int, meanwhile: Callable[[], None]) -> M:
        while True:
            over = self.pending is not None
            if over and kind is not Committed:
                raise Changed
            try:  # a commit that came before the new epoch counts: others have made the step
                message = self._next(0.0 if over else MEANWHILE_S)
            except queue.Empty:
                if over:
                    raise Changed from None
                meanwhile()
                continue
            if isinstance(message, kind) and message.epoch == epoch:
                return message

    def wait_change(self, most_s: float) -> bool:
        """Wait for a new epoch; gives whether there is one. Raises `Left`."""
        end_s = time.monotonic() + most_s
        while self.pending is None and time.monotonic() < end_s:
            with suppress(queue.Empty):
                self._next(max(0.0, end_s - time.monotonic()))
        return self.pending is not None

    def coordinator(self) -> str:
        """HOST:PORT of the one that is listened to. Raises `OSError` where it is gone."""
        host, port = self._connection.getpeername()[:2]
        return f"{host}:{port}"

    def seat(self) -> int:
        """Wait for the place of this worker in a replica. Raises `Left`."""
        while True:
            if self._left is not None:
                raise Left(self._left.reason, error=self._left.error)
            with suppress(queue.Empty):
                return self._seat.get(timeout=MEANWHILE_S).place

    def close(self) -> None:
        self._closed = True
        with suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)
        self._connection.close()

    def _next(self, most_s: float | None = None) -> Turn:
        if self._left is not None:
            raise Left(self._left.reason, error=self._left.error)
        message = self._inbox.get(timeout=most_s)
        if isinstance(message, Leave):
            raise Left(message.reason, error=message.error)
        return message

    def _listen(self) -> None:
        while not self._over():
            try:
                while True:
                    self._heard(_reader.decode(read_body(self._connection)))
            except (EOFError, OSError, Refused, msgspec.DecodeError) as error:
                why = str(error) or "it closed the connection"
                if not self._over() and not self._return():
                    self._heard(Leave(f"the coordinator is gone: {why}", error=True))

    def _over(self) -> bool:
        """Whether nothing more is expected of the coordinator."""
        return self._closed or self._left is not None

    def _return(self) -> bool:
        """Go on with another coordinator; gives whether there is one."""
        end_s, most_s = time.monotonic() + RETURN_S, ANSWER_S
        while not self._closed and time.monotonic() < end_s:
            try:
                connection = _greeted(self._to, self._secret, most_s)
            except Refused:
                time.sleep(AGAIN_S)
                most_s = min(1.5 * most_s, CONNECT_S)
                continue
            self._returned = True
            self.on_feeding(Feeding(-1, "", anew=True))
            with self._sending, suppress(OSError):
                self._connection.close()
                self._connection = connection
                connection.sendall(pack(self._hello))
                if self._ready is not None:
                    connection.sendall(pack(self._ready))
            return True
        return False

    def _heard(self, message: ToWorker) -> None:
        match message:
            case Feeding():
                self.on_feeding(message)
            case Copying(to):
                self.on_copying(to)
            case Seated():
                self._hello = replace(self._hello, place=message.place)
                self._seat.put(message)
            case Probing():
                threading.Thread(target=self._probe, args=(message,), daemon=True).start()
            case Looking():
                self._look(message)
            case Epoch() | Planned() | Committed() | Leave():
                self._turns(message)
            case _:
                pass

    def _turns(self, message: Turn) -> None:
        if isinstance(message, Committed):
            skipped = message.step if message.skip else self._hello.skipped
            made = {"made": message.step, "total": message.total, "skipped": skipped}
            self._hello = replace(self._hello, **made)
        if isinstance(message, Epoch):
            self._epoch, self._hello = message, replace(self._hello, epoch=message.epoch)
            self.on_epoch(message.epoch)
            if message.lost or message.stuck or self._returned:
                self.on_lost(message.epoch)
            self._returned = False
        if isinstance(message, Leave):
            self._left = message
            self.on_epoch(sys.maxsize)
            self.on_lost(sys.maxsize)
        self._inbox.put(message)

    def _probe(self, probing: Probing) -> None:
        for peer in probing.members:
            self.say(probe(peer, self._secret))

    def _look(self, looking: Looking) -> None:
        """One thread for each, for each may take as long as there is time."""
        number, most_s = self._hello.worker, looking.most_s

        def see(other: int, look: Callable[[], bool]) -> None:
            self.say(Seen(looking.look, other, look()))

        looks = {m.worker: partial(reached, m, self._secret, most_s) for m in looking.members}
        looks[number] = partial(self.device_answers, most_s)
        for look in looks.items():
            threading.Thread(target=see, args=look, daemon=True).start()

    def _beat(self) -> None:
        while not self._closed and self._left is None:
            since_s, phase = self.waiting_s(), self._phase
            if phase == "compute" and 0 < since_s < time.monotonic() - BEAT_S:
                phase = "team"
            self.say(Beat(phase, self.shard_s, self.moved_bytes() if phase in WAITING else -1))
            time.sleep(BEAT_S)


def _greeted(to: str, secret: str, most_s: float = CONNECT_S) -> socket.socket:
    """A connection to the coordinator, which answers in `most_s`, on which the secret was proven. Raises `Refused`."""
    try:
        connection, agent = _entered(to, secret)
        if agent:
            with connection:
                leads = _reader.decode(read_body(connection))
            if not isinstance(leads, Leads):
                raise Refused(f"the agent at {to} knows no coordinator")
            connection, _ = _entered(leads.to, secret, most_s)
    except (OSError, EOFError, msgspec.DecodeError) as error:
        raise Refused(f"the coordinator at {to} cannot be reached: {error}") from error
    connection.settimeout(None)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def _entered(to: str, secret: str, most_s: float = CONNECT_S) -> tuple[socket.socket, bool]:
    """A connection to a coordinator, or to an agent."""
    connection = socket.create_connection(address(to), timeout=most_s)
    belongs_elsewhere(connection)
    challenge = _reader.decode(read_body(connection))
    if not isinstance(challenge, Challenge):
        raise Refused(f"{to} is no coordinator of a cordee job")
    connection.sendall(pack(Answer(sign(secret, challenge.nonce), "worker")))
    return connection, challenge.agent
