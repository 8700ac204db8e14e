"""Answers of many requests over one connection: a token of each of them costs one write, not one each.

A client opens a bundle with `GET /cordee/bundle` and learns its name from a header of the answer, which does not
end. Requests that name it, with a number of their own, are answered there: `NUMBER LENGTH\\n` and the piece.
On their own connection only the head and the end of the answer come, or an error.
"""

import asyncio
import secrets
from collections.abc import Iterator
from functools import partial

from cordee.core.http.exchange import Exchange

PATH = "/cordee/bundle"
HEADER = "x-cordee-bundle"


class Bundles:
    """Those that are open on a server."""

    def __init__(self) -> None:
        self._open: dict[str, _Bundle] = {}

    def open(self, exchange: Exchange) -> None:
        """Answer a request for one. It ends with its connection."""
        name = secrets.token_hex(8)
        self._open[name] = _Bundle(exchange)
        exchange.when_gone(partial(self._open.__delitem__, name))
        exchange.lasts = True
        exchange.start(200, "application/octet-stream", {HEADER: name})

    def join(self, exchange: Exchange) -> None:
        """Send the answer through the bundle that its request names; if there is none, as usual."""
        asked = exchange.headers.get(HEADER, "")
        name, _, number = asked.partition(" ")
        bundle = self._open.get(name)
        if bundle is not None and number.isdecimal():
            exchange.divert(partial(bundle.put, number.encode()), {HEADER: asked})


class _Bundle:
    """One connection, and what the present turn of the loop has to say on it."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._frames: list[bytes] = []

    def put(self, number: bytes, data: bytes) -> None:
        if not self._frames:
            asyncio.get_running_loop().call_soon(self._flush)
        self._frames.append(b"%b %d\n%b" % (number, len(data), data))

    def _flush(self) -> None:
        frames, self._frames = self._frames, []
        self._exchange.write(b"".join(frames))


def frames(block: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Number and data of each frame. `block` is what one write has sent, and whole."""
    at, size = 0, len(block)
    while at < size:
        start = block.index(b"\n", at) + 1
        number, length = block[at:start].split()
        at = start + int(length)
        yield number, block[start:at]
