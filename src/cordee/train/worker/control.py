"""A worker's line to the coordinator: a thread that listens, beats, and frees what is stuck."""

import queue
import socket
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol, TypeVar

import msgspec

from cordee.core.errors import CordeeError
from cordee.train.policy.workers import Phase
from cordee.train.wire import (
    Answer,
    Beat,
    Challenge,
    Committed,
    Epoch,
    Feeding,
    FromWorker,
    Hello,
    Leave,
    Planned,
    Probing,
    Refused,
    Seated,
    ToWorker,
    address,
    pack,
    read_body,
    sign,
)
from cordee.train.worker.probe import probe

BEAT_S = 0.2
CONNECT_S = 20.0
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
        self._secret = secret
        self.on_lost: Callable[[int], None] = lambda epoch: None
        """Called with a new epoch where members of the one before are gone. From another thread, as those that follow."""
        self.on_epoch: Callable[[int], None] = lambda epoch: None
        """Called with every new epoch."""
        self.on_feeding: Callable[[Feeding], None] = lambda feeding: None
        self.waiting_s: Callable[[], float] = lambda: 0.0
        """Since when the program waits for others of its replica; 0: it does not."""
        self._seat: queue.SimpleQueue[Seated] = queue.SimpleQueue()
        self._sending = threading.Lock()
        self._inbox: queue.SimpleQueue[Epoch | Planned | Committed | Leave] = queue.SimpleQueue()
        self._epoch: Epoch | None = None
        self._taken = 0
        self._left: Leave | None = None
        self._phase: Phase = "outside"
        self.shard_s = 0.0
        self._closed = False
        self.say(hello)
        for work in (self._listen, self._beat):
            threading.Thread(target=work, name=f"train{work.__name__}", daemon=True).start()

    @property
    def pending(self) -> Epoch | None:
        epoch = self._epoch
        return epoch if epoch is not None and epoch.epoch > self._taken else None

    def say(self, message: FromWorker) -> None:
        """Tell the coordinator. One that is gone is noticed where it is listened to."""
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

    def _next(self, most_s: float | None = None) -> Epoch | Planned | Committed | Leave:
        if self._left is not None:
            raise Left(self._left.reason, error=self._left.error)
        message = self._inbox.get(timeout=most_s)
        if isinstance(message, Leave):
            raise Left(message.reason, error=message.error)
        return message

    def _listen(self) -> None:
        try:
            while True:
                self._heard(_reader.decode(read_body(self._connection)))
        except (EOFError, OSError, Refused, msgspec.DecodeError) as error:
            if not self._closed:
                why = str(error) or "it closed the connection"
                self._heard(Leave(f"the coordinator is gone: {why}", error=True))

    def _heard(self, message: ToWorker) -> None:
        if isinstance(message, Feeding):
            self.on_feeding(message)
            return
        if isinstance(message, Challenge):
            return
        if isinstance(message, Seated):
            self._seat.put(message)
            return
        if isinstance(message, Probing):
            threading.Thread(target=self._probe, args=(message,), daemon=True).start()
            return
        if isinstance(message, Epoch):
            self._epoch = message
            self.on_epoch(message.epoch)
            if message.lost:
                self.on_lost(message.epoch)
        if isinstance(message, Leave):
            self._left = message
            self.on_epoch(sys.maxsize)
            self.on_lost(sys.maxsize)
        self._inbox.put(message)

    def _probe(self, probing: Probing) -> None:
        for peer in probing.members:
            self.say(probe(peer, self._secret))

    def _beat(self) -> None:
        while not self._closed and self._left is None:
            since_s = self.waiting_s()
            stuck = self._phase == "compute" and 0 < since_s < time.monotonic() - BEAT_S
            self.say(Beat("team" if stuck else self._phase, self.shard_s))
            time.sleep(BEAT_S)


def _greeted(to: str, secret: str) -> socket.socket:
    """A connection on which the secret was proven. Raises `Refused`."""
    try:
        connection = socket.create_connection(address(to), timeout=CONNECT_S)
        challenge = _reader.decode(read_body(connection))
        if not isinstance(challenge, Challenge):
            raise Refused(f"{to} is no coordinator of a cordee job")
        connection.sendall(pack(Answer(sign(secret, challenge.nonce), "worker")))
    except (OSError, EOFError, msgspec.DecodeError) as error:
        raise Refused(f"the coordinator at {to} cannot be reached: {error}") from error
    connection.settimeout(None)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection
