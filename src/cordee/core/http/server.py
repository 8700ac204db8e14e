"""An HTTP server for requests that fit into memory and answers that may stream for minutes."""

import asyncio
import inspect
import logging
import socket
import ssl
import struct
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import cast

import httptools

from cordee.core.errors import UsageError
from cordee.core.http.exchange import Exchange, settled

Handler = Callable[[Exchange], Awaitable[None] | None]
SWEEP_S = 0.5
LINGER_S = 5.0
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Limits:
    """What a client may take of the server."""

    body_bytes: int = 16_000_000
    head_bytes: int = 65_536
    request_s: float = 30.0
    """A request is whole in this time, however slowly it is sent."""
    idle_s: float = 120.0
    """A connection may be silent so long between requests."""
    stalled_s: float = 60.0
    """A client that reads nothing of its answer for so long is gone."""
    connections: int = 10_000
    pipelined: int = 16


class Listener:
    """A server that listens."""

    def __init__(self, limits: Limits, handler: Handler, option: str) -> None:
        self.limits, self.handler, self.option = limits, handler, option
        self.connections: set[_Connection] = set()
        self.port = 0
        self._servers: list[asyncio.Server] = []
        self._sweeper: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def open(self, sockets: Sequence[socket.socket], tls: ssl.SSLContext | None) -> None:
        loop = asyncio.get_running_loop()
        for bound in sockets:
            host, port = bound.getsockname()[:2]
            with _taken(host, port, self.option):
                self._servers.append(
                    await loop.create_server(
                        partial(_Connection, self), sock=bound, ssl=tls, backlog=1024
                    )
                )
        self.port = sockets[0].getsockname()[1]
        self._sweeper = loop.create_task(self._sweep())

    async def close(self) -> None:
        """Take no more connections and close those that are open."""
        for server in self._servers:
            server.close()
        for connection in list(self.connections):
            connection.close()
        if self._sweeper is not None:
            self._sweeper.cancel()
        for task in list(self._tasks):
            task.cancel()

    def reset(self) -> None:
        """Break off all connections with a TCP reset, as a network does that forgets them."""
        for connection in list(self.connections):
            connection.reset()

    async def drain(self, most_s: float) -> None:
        """Take no more connections, and wait for the answers that are under way."""
        for server in self._servers:
            server.close()
        end = time.monotonic() + most_s
        while any(connection.busy for connection in self.connections):
            if time.monotonic() > end:
                break
            await asyncio.sleep(0.02)

    def start(self, exchange: Exchange) -> None:
        """Hand a request to the handler."""
        try:
            result = self.handler(exchange)
        except Exception:  # noqa: BLE001 - a server outlives the fault of one request
            self._failed(exchange)
            return
        if inspect.isawaitable(result):
            task = asyncio.ensure_future(self._follow(exchange, result))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _follow(self, exchange: Exchange, result: Awaitable[None]) -> None:
        try:
            await result
        except Exception:  # noqa: BLE001 - as above
            self._failed(exchange)

    def _failed(self, exchange: Exchange) -> None:
        """A fault of ours: the client is told so, and the log says where."""
        log.exception("a request to %s failed", exchange.path)
        if exchange.started:
            exchange.finish()
        else:
            exchange.fail(500, "an error in the server; its log says more")

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_S)
            now = time.monotonic()
            for connection in list(self.connections):
                connection.check(now)


class _Connection(asyncio.Protocol):
    """One connection; its requests are answered one after another."""

    __slots__ = (
        "_body", "_client", "_head_bytes", "_incoming", "_listener", "_parser", "_paused",
        "_refused", "_since", "_size", "_target", "_transport", "_waiting",
    )  # fmt: skip

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpRequestParser(self)
        self._waiting: list[Exchange] = []  # the first of them is being answered
        self._incoming: Exchange | None = None
        self._paused: asyncio.Event | None = None
        self._since = time.monotonic()
        self._head_bytes = self._size = 0
        self._refused = False
        self._target = b""
        self._body: list[bytes] = []
        self._client = ""

    @property
    def busy(self) -> bool:
        return any(not exchange.lasts for exchange in self._waiting)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is no subclass
        peer = transport.get_extra_info("peername")
        self._client = str(peer[0]) if isinstance(peer, tuple) and peer else ""
        connections = self._listener.connections
        if len(connections) >= self._listener.limits.connections:
            self._refuse(503, "too many connections")
            return
        connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._listener.connections.discard(self)
        self.resume_writing()
        for exchange in self._waiting:
            exchange.left()
        self._waiting = []
        self._incoming = None

    def data_received(self, data: bytes) -> None:
        if self._refused:
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            # Another protocol is offered, not asked for: answer in this one, and read no more.
            self._refused = True
            if not self._waiting:
                self._linger()
            for exchange in self._waiting:
                exchange.set_version("1.1", keep_alive=False)
        except httptools.HttpParserError as error:
            self._refuse(400, f"the request is no HTTP: {error}")

    def pause_writing(self) -> None:
        self._paused = asyncio.Event()
        self._since = time.monotonic()

    def resume_writing(self) -> None:
        if self._paused is not None:
            self._paused.set()
            self._paused = None
            self._since = time.monotonic()

    # What the parser calls.

    def on_message_begin(self) -> None:
        if not self._waiting:
            self._since = time.monotonic()
        self._target, self._body, self._size, self._head_bytes = b"", [], 0, 0
        self._incoming = Exchange(self, "", b"", self._client)

    def on_url(self, url: bytes) -> None:
        self._target += url
        self._count(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count(len(name) + len(value))
        if self._incoming is not None:
            self._incoming.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        incoming = self._incoming
        if incoming is None:
            return
        made = Exchange(self, self._parser.get_method().decode(), self._target, self._client)
        made.headers = incoming.headers
        made.set_version(
            self._parser.get_http_version(), keep_alive=self._parser.should_keep_alive()
        )
        self._incoming = made
        length = made.headers.get("content-length", "0")
        if length.isdigit() and int(length) > self._listener.limits.body_bytes:
            self._too_large()
        if made.headers.get("expect", "").lower() == "100-continue" and not self._waiting:
            self.put(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        self._size += len(body)
        if self._size > self._listener.limits.body_bytes:
            self._too_large()
        self._body.append(body)

    def on_message_complete(self) -> None:
        exchange = self._incoming
        if exchange is None or self._refused:
            return
        exchange.body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
        self._incoming, self._body = None, []
        self._waiting.append(exchange)
        if len(self._waiting) > self._listener.limits.pipelined and self._transport:
            self._transport.close()
        elif len(self._waiting) == 1:
            self._listener.start(exchange)

    # What an exchange calls.

    def put(self, data: bytes) -> None:
        if self._transport is not None:  # one that is closing lets it fall
            self._transport.write(data)

    def done(self, exchange: Exchange) -> None:
        self._since = time.monotonic()
        if self._waiting and self._waiting[0] is exchange:
            self._waiting.pop(0)
        if self._refused:
            self._linger()
        elif not exchange.keep_alive:
            self.close()
        elif self._waiting:
            asyncio.get_running_loop().call_soon(self._next)

    async def writable(self) -> None:
        await settled(self._paused)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def reset(self) -> None:
        transport = self._transport
        if transport is not None:
            plain = transport.get_extra_info("socket")
            at_once = struct.pack("ii", 1, 0)
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, at_once)
            transport.abort()

    def check(self, now: float) -> None:
        """Close a connection that takes too long."""
        limits, silent = self._listener.limits, now - self._since
        if self._refused and not self._waiting:
            if silent > LINGER_S:
                self.close()
            return
        if self._paused is not None:
            if silent > limits.stalled_s and self._transport is not None:
                self._transport.abort()
        elif self._waiting:
            return
        elif self._incoming is not None:
            if silent > limits.request_s:
                self._refuse(408, "the request was not whole in time")
        elif silent > (limits.idle_s if self._head_bytes else limits.request_s):
            self.close()

    def _linger(self) -> None:
        """Close, but not yet for what comes in: a client that still sends would not see the answer."""
        transport = self._transport
        if transport is not None and not transport.is_closing():
            self._since = time.monotonic()
            if transport.can_write_eof():
                transport.write_eof()

    def _next(self) -> None:
        if self._waiting:
            self._listener.start(self._waiting[0])

    def _count(self, size: int) -> None:
        self._head_bytes += size
        if self._head_bytes > self._listener.limits.head_bytes:
            self._refuse(431, "the head of the request is too large")
            raise _TooLarge

    def _too_large(self) -> None:
        most = self._listener.limits.body_bytes
        self._refuse(413, f"the body is larger than {most} bytes")
        raise _TooLarge

    def _refuse(self, status: int, message: str) -> None:
        """Answer a request that is not read to its end; nothing more is read."""
        if self._refused:
            return
        self._refused = True
        self._incoming, self._body = None, []
        refusal = Exchange(self, "POST", b"", self._client)
        refusal.set_version("1.1", keep_alive=False)
        if not self._waiting:
            refusal.fail(status, message)


class _TooLarge(Exception):
    """Stops the parser; the client has been told already."""


async def listen(
    handler: Handler, host: str, port: int, *, limits: Limits | None = None, option: str = "--port"
) -> Listener:
    """Serve on a port, 0 for any. Raises `UsageError` where it is taken: `option` gives another."""
    sockets = bound(host, port, option)
    return await listen_on(handler, sockets, limits=limits, option=option)


async def listen_on(
    handler: Handler,
    sockets: Sequence[socket.socket],
    *,
    limits: Limits | None = None,
    tls: ssl.SSLContext | None = None,
    option: str = "--port",
) -> Listener:
    """Serve on sockets that are `bound`."""
    listener = Listener(limits or Limits(), handler, option)
    await listener.open(sockets, tls)
    return listener


def bound(host: str, port: int, option: str = "--port") -> Sequence[socket.socket]:
    """The addresses of a host, reserved; nobody is answered yet. Raises `UsageError` where one is taken."""
    made: list[socket.socket] = []
    with _taken(host, port, option):
        found = socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        for family, kind, protocol, _, address in dict.fromkeys(found):
            own = socket.socket(family, kind, protocol)
            made.append(own)
            own.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                own.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            own.bind(address)
    return made


@contextmanager
def _taken(host: str, port: int, option: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise UsageError(
            f"cannot listen on {host} port {port}: {why}; give another with {option}"
        ) from error
