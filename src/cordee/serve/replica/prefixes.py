"""Prefixes that one engine has computed, given to another: a start with a warm cache."""

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Generic, TypeVar

import msgspec
import numpy as np

from cordee.core.http.client import Client, Unreachable
from cordee.core.http.exchange import Exchange
from cordee.serve.api.errors import ApiError
from cordee.serve.engine.blocks import NAME_BYTES
from cordee.serve.engine.operators.table import A, C, W
from cordee.serve.engine.worker import Worker

PREFIXES, WARM = "/cordee/prefixes", "/cordee/warm"
AT_ONCE_BYTES = 4_000_000
"""So much is read or written between two steps, so that nobody waits for it."""
MOST_BYTES = 1_000_000_000
TIMEOUT_S = 5.0
T = TypeVar("T")


class Which(msgspec.Struct):
    """The body of a request for blocks: those with these names, or their names where there are none."""

    names: list[bytes] = []


class Head(msgspec.Struct):
    """What an engine has: the names of its blocks, the most lately used first."""

    numerics: str
    shape: list[int]
    names: list[bytes]


class Warm(msgspec.Struct):
    """The body of a request to begin warm."""

    peer: str
    most_s: float = 10.0


class Prefixes(Generic[A, W, C]):
    """Gives blocks to others, and takes them from others."""

    def __init__(self, worker: Worker[A, W, C], numerics: str) -> None:
        self._worker, self._numerics = worker, numerics
        self._client = Client()

    async def tell(self, exchange: Exchange) -> None:
        """Answer a peer with names, or with the floats of the blocks that it names."""
        try:
            which = msgspec.json.decode(exchange.body, type=Which)
        except msgspec.DecodeError as error:
            exchange.fail(400, f"the body names no blocks: {error}")
            return
        if which.names:
            floats = await self._between_steps(partial(self._floats, which.names))
            exchange.send(200, floats, "application/octet-stream")
            return
        names = await self._between_steps(lambda: self._worker.blocks.known()[::-1])
        head = Head(self._numerics, list(self._shape()), names)
        exchange.send(200, msgspec.json.encode(head))

    async def warm(self, exchange: Exchange) -> None:
        """Take from a peer what it has, as far as there is room and time."""
        try:
            wish = msgspec.json.decode(exchange.body, type=Warm)
            taken, told = await self._take_all(wish)
        except (msgspec.DecodeError, Unreachable, ApiError) as error:
            exchange.fail(400, f"the cache stays as it is: {error}")
            return
        exchange.send(200, msgspec.json.encode({"blocks": taken, "bytes": told}))

    async def _take_all(self, wish: Warm) -> tuple[int, int]:
        until = time.monotonic() + wish.most_s
        head = msgspec.json.decode(await self._ask(wish.peer, []), type=Head)
        if head.numerics != self._numerics or tuple(head.shape) != self._shape():
            raise ApiError(400, f"{wish.peer} reckons otherwise")
        size = 4 * int(np.prod(head.shape))
        each = max(1, AT_ONCE_BYTES // size)
        names = head.names[: min(self._worker.blocks.count, MOST_BYTES // size)]
        taken = 0
        for first in range(0, len(names), each):
            if time.monotonic() > until:
                break
            part = names[first : first + each]
            body = await self._ask(wish.peer, part)
            taken += await self._between_steps(partial(self._keep, body))
        return taken, taken * size

    async def _ask(self, peer: str, names: Sequence[bytes]) -> bytes:
        body = msgspec.json.encode(Which(list(names)))
        reply = await self._client.request(
            peer + PREFIXES, method="POST", body=body, timeout_s=TIMEOUT_S
        )
        if reply.status != 200:
            raise ApiError(400, f"{peer} answered {reply.status}")
        return reply.body

    def _shape(self) -> tuple[int, ...]:
        """Of a block over all chips: the same for engines over one chip and over several."""
        *axes, floats = self._worker.cache.block(0).shape
        return (*axes, floats * self._worker.decoder.part.count)

    def _floats(self, names: Sequence[bytes]) -> bytes:
        """Each name that is still known, and behind it the floats of its block."""
        worker = self._worker
        found = [
            (name, number) for name in names if (number := worker.blocks.named(name)) is not None
        ]
        if not found:
            return b""
        blocks = worker.decoder.read_blocks(worker.cache, [number for _, number in found])
        told = zip(found, blocks.astype("<f4"), strict=True)
        return b"".join(name + block.tobytes() for (name, _), block in told)

    def _keep(self, body: bytes) -> int:
        """How many of the blocks there was room for."""
        shape, worker = self._shape(), self._worker
        numbers, blocks = [], []
        for name, floats in _pairs(body, 4 * int(np.prod(shape))):
            number = worker.blocks.adopt(name)
            if number is not None:
                numbers.append(number)
                blocks.append(np.frombuffer(floats, "<f4").reshape(shape))
        if numbers:
            worker.decoder.write_blocks(worker.cache, numbers, np.stack(blocks))
        return len(numbers)

    async def _between_steps(self, work: Callable[[], T]) -> T:
        loop = asyncio.get_running_loop()
        done: asyncio.Future[T] = loop.create_future()

        def call() -> None:
            made = work()
            loop.call_soon_threadsafe(done.set_result, made)

        self._worker.ask(call)
        return await done


def _pairs(body: bytes, size: int) -> Iterator[tuple[bytes, bytes]]:
    each = NAME_BYTES + size
    for at in range(0, len(body) - each + 1, each):
        yield body[at : at + NAME_BYTES], body[at + NAME_BYTES : at + each]
