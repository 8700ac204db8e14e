"""One request and its answer."""

import asyncio
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Protocol
from urllib.parse import parse_qsl, unquote

import msgspec

JSON = "application/json"
EVENTS = "text/event-stream"
METRICS = "text/plain; version=0.0.4; charset=utf-8"
_PHRASES = {status.value: status.phrase.encode() for status in HTTPStatus}


class Wire(Protocol):
    """The connection that an exchange goes over."""

    def put(self, data: bytes) -> None: ...

    def done(self, exchange: "Exchange") -> None: ...

    async def writable(self) -> None: ...


class Exchange:
    """A request whose body is there, and the answer to it: whole with `send`, or in pieces."""

    __slots__ = (
        "_chunked", "_diverted", "_gone", "_keep_alive", "_started", "_told", "_wire", "body",
        "client", "finished", "gone", "headers", "lasts", "method", "path", "query", "status",
    )  # fmt: skip

    def __init__(self, wire: Wire, method: str, target: bytes, client: str) -> None:
        path, _, query = target.decode("latin-1").partition("?")
        self.method, self.path, self.client = method, unquote(path), client
        self.query: dict[str, str] = dict(parse_qsl(query)) if query else {}
        self.headers: dict[str, str] = {}
        self.body = b""
        self.status = 0
        self.finished = self.gone = self._started = self.lasts = False
        self._wire, self._keep_alive, self._chunked = wire, True, True
        self._gone: list[Callable[[], None]] = []
        self._diverted: Callable[[bytes], None] | None = None
        self._told: Mapping[str, str] = {}

    @property
    def wire(self) -> Wire:
        return self._wire

    def send(
        self,
        status: int,
        body: bytes,
        content_type: str = JSON,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Answer with all there is."""
        if self._started:
            return
        self._started, self.status = True, status
        head = _head(status, content_type, headers, self._keep_alive)
        head += b"Content-Length: %d\r\n\r\n" % len(body)
        self._put(head if self.method == "HEAD" else head + body)
        self._end()

    def fail(self, status: int, message: str) -> None:
        """Answer with an error in OpenAI's shape, where none of the API's own is at hand."""
        self.send(status, problem(status, message))

    def start(
        self,
        status: int,
        content_type: str = EVENTS,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Begin an answer whose pieces follow with `write`."""
        if self._started:
            return
        self._started, self.status = True, status
        if content_type == EVENTS:
            # X-Accel-Buffering: proxies such as nginx are to pass each piece on.
            headers = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no", **(headers or {})}
        self._keep_alive = self._keep_alive and self._chunked
        head = _head(status, content_type, {**(headers or {}), **self._told}, self._keep_alive)
        self._put(head + (b"Transfer-Encoding: chunked\r\n\r\n" if self._chunked else b"\r\n"))

    def write(self, data: bytes) -> None:
        """Send a piece at once."""
        if not data or self.finished:
            return
        if self._diverted is not None:
            self._diverted(data)
        else:
            self._put(b"%x\r\n%b\r\n" % (len(data), data) if self._chunked else data)

    def divert(self, put: Callable[[bytes], None], told: Mapping[str, str]) -> None:
        """Let the pieces of an answer go elsewhere; `told` are headers that say so."""
        self._diverted, self._told = put, told

    @property
    def put(self) -> Callable[[bytes], None] | None:
        """Writes bytes that are framed as chunks already; None where the client reads no chunks."""
        return self._wire.put if self._chunked else None

    def finish(self) -> None:
        """The answer is whole."""
        if not self.finished:
            if self._chunked:
                self._put(b"0\r\n\r\n")
            self._end()

    async def writable(self) -> None:
        """Wait while the client reads more slowly than it is written to."""
        if not self.gone:
            await self._wire.writable()

    def when_gone(self, call: Callable[[], None]) -> None:
        """Call when the client goes away before the answer is whole."""
        if self.gone:
            call()
        else:
            self._gone.append(call)

    @property
    def started(self) -> bool:
        return self._started

    @property
    def keep_alive(self) -> bool:
        return self._keep_alive

    def set_version(self, version: str, *, keep_alive: bool) -> None:
        self._keep_alive, self._chunked = keep_alive, version != "1.0"

    def left(self) -> None:
        """The connection is closed."""
        self.gone = True
        if not self.finished:
            self.finished = True
            for call in self._gone:
                call()
        self._gone = []

    def _put(self, data: bytes) -> None:
        if not self.gone:
            self._wire.put(data)

    def _end(self) -> None:
        self.finished = True
        self._gone = []
        self._wire.done(self)


def problem(status: int, message: str) -> bytes:
    """An error in OpenAI's shape."""
    kind = "invalid_request_error" if status < 500 else "server_error"
    told = {"message": message, "type": kind, "param": None, "code": None}
    return msgspec.json.encode({"error": told})


def _head(
    status: int, content_type: str, headers: Mapping[str, str] | None, keep_alive: bool
) -> bytes:
    head = b"HTTP/1.1 %d %b\r\nContent-Type: %b\r\n" % (
        status,
        _PHRASES.get(status, b""),
        content_type.encode(),
    )
    for name, value in (headers or {}).items():
        head += f"{name}: {value}\r\n".encode("latin-1", "replace")
    return head if keep_alive else head + b"Connection: close\r\n"


async def settled(event: asyncio.Event | None) -> None:
    """Wait for an event that may not be there."""
    if event is not None:
        await event.wait()
