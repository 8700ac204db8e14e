"""State for one that waits, in the background: a copy of the whole, and then the gradient of every step.

The one who gets it applies these gradients itself, and so has the state of the step at which it is let in, bit for
bit, without anybody waiting for it.
"""

import queue
import socket
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

import msgspec
import torch
from torch import Tensor

from cordee.train.wire import (
    LENGTH,
    Answer,
    Challenge,
    Member,
    Refused,
    address,
    fits,
    new_secret,
    pack,
    read_body,
    read_exactly,
    sign,
)
from cordee.train.worker.probe import answer_probe
from cordee.train.worker.sockets import belongs_elsewhere, opened
from cordee.train.worker.state import Header, Value

WAITING_MOST = 16
"""Gradients that wait to be sent; where more do, the other side is too slow to catch up."""
CONNECT_S = 10.0
IDLE_S, PROBES = 1, 4
"""A connection on which nothing comes is asked so often, in so many seconds each, whether the other side is there."""


class Gradient(msgspec.Struct, tag_field="is", tag="gradient", frozen=True):
    """The gradient of a step follows, in so many buffers of so many bytes; none: it was left out."""

    step: int
    sizes: tuple[int, ...]
    groups: list[dict[str, Value]]


class Whole(msgspec.Struct, tag_field="is", tag="whole", frozen=True):
    """A whole state follows."""

    header: Header
    members: tuple[Member, ...]
    """With whom the one who gets it is to work together."""


@dataclass(frozen=True, slots=True)
class Fed:
    """What came: a whole state or a gradient, and the bytes of its tensors."""

    head: Gradient | Whole
    data: list[bytearray]


class Feed:
    """Sends to one that waits."""

    def __init__(
        self,
        to: str,
        by: tuple[str, int],
        whole: Whole,
        tensors: Sequence[Tensor],
        half: Callable[[], None] = lambda: None,
    ) -> None:
        """`by`: the secret, and who feeds. `tensors` are copied now, and sent while training goes on.

        `half` is called in the middle of that, from another thread.
        """
        copies = [tensor.to("cpu", copy=True) for tensor in tensors]
        self._queue: queue.Queue[tuple[Gradient | Whole, list[Tensor]] | None] = queue.Queue()
        self._queue.put((whole, copies))
        self.broken = False
        self._half = half
        self._thread = threading.Thread(target=self._run, args=(to, *by), daemon=True)
        self._thread.start()

    def add(self, step: int, groups: list[dict[str, Value]], gradient: Sequence[Tensor]) -> None:
        """A step was committed."""
        if self._queue.qsize() > WAITING_MOST:
            self.broken = True
        if self.broken:
            self._queue.put(None)
            return
        copies = [part.to("cpu", copy=True) for part in gradient]
        sizes = tuple(part.numel() * part.element_size() for part in copies)
        self._queue.put((Gradient(step, sizes, groups), copies))

    def anew(self, whole: Whole, tensors: Sequence[Tensor]) -> None:
        """What was sent is not all that there is to the state any more: it is sent once more."""
        self._queue.put((whole, [tensor.to("cpu", copy=True) for tensor in tensors]))

    def end(self) -> None:
        """The other side has all that it needs, or is gone."""
        self._queue.put(None)

    def _run(self, to: str, secret: str, worker: int) -> None:
        try:
            with socket.create_connection(address(to), timeout=CONNECT_S) as connection:
                belongs_elsewhere(connection)
                opened()
                challenge = msgspec.json.decode(read_body(connection), type=Challenge)
                proof = sign(secret, challenge.nonce)
                connection.sendall(pack(Answer(proof, "worker", worker=worker)))
                lasting(connection)
                while (item := self._queue.get()) is not None:
                    self._send(connection, *item)
        except (OSError, EOFError, Refused, msgspec.DecodeError):
            self.broken = True

    def _send(
        self, connection: socket.socket, head: Gradient | Whole, tensors: list[Tensor]
    ) -> None:
        body = msgspec.json.encode(head)
        connection.sendall(LENGTH.pack(len(body)) + body)
        for number, tensor in enumerate(tensors):
            if isinstance(head, Whole) and number == len(tensors) // 2:
                self._half()
            if tensor.numel():
                connection.sendall(_bytes(tensor))


class Ended(msgspec.Struct, frozen=True):
    """Nothing more comes from a member."""

    worker: int


class Mouth:
    """Takes what others feed; one of them at a time. Others may look meanwhile whether this worker is reached."""

    def __init__(self, host: str, secret: str, keeps: Callable[[socket.socket], None]) -> None:
        """`keeps`: takes and gives what is kept, for one that has come for that."""
        self._secret, self._keeps = secret, keeps
        self._server = socket.create_server((host, 0))
        self.port = self._server.getsockname()[1]
        self._queue: queue.Queue[Fed | Ended] = queue.Queue()
        self._eating = threading.Lock()
        self.half: Callable[[Whole], None] = lambda whole: None
        """Called when half of a state has come, from another thread."""
        threading.Thread(target=self._run, name="train_mouth", daemon=True).start()

    def next(self, most_s: float) -> Fed | Ended:
        """What came next. Raises `queue.Empty`."""
        return self._queue.get(timeout=most_s)

    @property
    def empty(self) -> bool:
        return self._queue.empty()

    def close(self) -> None:
        self._server.close()

    def _run(self) -> None:
        while True:
            try:
                connection, _ = self._server.accept()
            except OSError:
                return
            threading.Thread(target=self._greet, args=(connection,), daemon=True).start()

    def _greet(self, connection: socket.socket) -> None:
        with connection, suppress(OSError, EOFError, Refused, msgspec.DecodeError):
            connection.settimeout(CONNECT_S)
            belongs_elsewhere(connection)
            opened()
            nonce = new_secret()
            connection.sendall(pack(Challenge(nonce)))
            answer = msgspec.json.decode(read_body(connection), type=Answer)
            if not fits(self._secret, nonce, answer.proof):
                return
            if answer.role == "reach":
                connection.sendall(b"\0")
                return
            if answer.role == "probe":
                answer_probe(connection)
                return
            if answer.role == "keep":
                lasting(connection)
                self._keeps(connection)
                return
            with self._eating:
                self._eat(connection, answer.worker)

    def _eat(self, connection: socket.socket, worker: int) -> None:
        with suppress(OSError, EOFError, Refused, msgspec.DecodeError):
            lasting(connection)
            while True:
                self._queue.put(self._receive(connection))
        self._queue.put(Ended(worker))

    def _receive(self, connection: socket.socket) -> Fed:
        head = msgspec.json.decode(read_body(connection), type=Gradient | Whole)
        if isinstance(head, Gradient):
            return Fed(head, [read_exactly(connection, size) for size in head.sizes])
        sizes = [_size(entry.dtype, entry.shape) for entry in head.header.entries]
        data = [read_exactly(connection, size) for size in sizes[: len(sizes) // 2]]
        self.half(head)
        return Fed(head, data + [read_exactly(connection, size) for size in sizes[len(data) :]])


def lasting(connection: socket.socket) -> None:
    """Nothing may come on it for long; but a link that is down is noticed. Source: tcp(7)."""
    connection.settimeout(None)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, IDLE_S)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, IDLE_S)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, PROBES)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 1000 * IDLE_S * PROBES)


def fill(tensors: Sequence[Tensor], data: Sequence[bytearray | memoryview]) -> None:
    """Put bytes that came into tensors."""
    for tensor, part in zip(tensors, data, strict=True):
        if part:
            got = torch.frombuffer(part, dtype=tensor.dtype)
            tensor.copy_(got[: tensor.numel()].view(tensor.shape))


def _size(dtype: str, shape: Sequence[int]) -> int:
    kind: torch.dtype = getattr(torch, dtype)
    count = 1
    for size in shape:
        count *= size
    return count * torch.empty(0, dtype=kind).element_size()


def _bytes(tensor: Tensor) -> memoryview:
    return tensor.contiguous().view(-1).view(torch.uint8).numpy().data
