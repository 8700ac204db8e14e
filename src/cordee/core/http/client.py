"""An HTTP client that keeps connections and hands on pieces of a stream as they come."""

import asyncio
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import cast
from urllib.parse import urlsplit

from cordee.core.errors import CordeeError
from cordee.core.http.reply import NoHttp, ReplyReader


class Unreachable(CordeeError):
    """The other side cannot be reached, does not answer in time, or broke off."""


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Target:
    """Where a URL leads."""

    host: str
    port: int
    path: str
    tls: bool


def target_of(url: str) -> Target:
    """Take a URL apart. Raises `Unreachable` where it is none of HTTP."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise Unreachable(f"{url}: is no http or https address")
    tls = parts.scheme == "https"
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Target(parts.hostname, parts.port or (443 if tls else 80), path, tls)


class Stream:
    """A request under way. Its callbacks are called from the loop, `on_end` once and last."""

    def __init__(
        self,
        on_status: Callable[[int, Mapping[str, str]], None],
        on_data: Callable[[bytes], None],
        on_end: Callable[[Unreachable | None], None],
    ) -> None:
        self.on_status, self.on_data, self.on_end = on_status, on_data, on_end
        self.ended = False
        self.connection: _Connection | None = None

    def abort(self) -> None:
        """Nobody wants the answer any more; no callback is called after this."""
        self.ended = True
        if self.connection is not None:
            self.connection.abort()

    def forget(self) -> None:
        """The answer is whole but for its end, which keeps the connection for another request."""
        self.ended = True

    def hand_to(
        self,
        on_status: Callable[[int, Mapping[str, str]], None],
        on_data: Callable[[bytes], None],
        on_end: Callable[[Unreachable | None], None],
    ) -> None:
        """From now on somebody else hears the answer."""
        self.on_status, self.on_data, self.on_end = on_status, on_data, on_end
        if self.connection is not None:
            self.connection.hear()

    def end(self, error: Unreachable | None) -> None:
        if not self.ended:
            self.ended = True
            self.on_end(error)


def _unheard(_: bytes) -> None:
    """Data that nobody wants any more."""


class _Connection(asyncio.Protocol):
    """One connection to one server; one request at a time."""

    def __init__(self, idle: Callable[["_Connection"], None], where: str) -> None:
        self._idle, self._where = idle, where
        self._transport: asyncio.Transport | None = None
        self._reader: ReplyReader | None = None
        self._stream: Stream | None = None

    @property
    def open(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    def begin(self, stream: Stream, request: bytes) -> None:
        self._reader = ReplyReader(stream.on_status, stream.on_data)
        self._stream, stream.connection = stream, self
        assert self._transport is not None
        self._transport.write(request)

    def hear(self) -> None:
        if self._stream is not None and self._reader is not None:
            self._reader.on_head, self._reader.on_data = (
                self._stream.on_status,
                self._stream.on_data,
            )

    def abort(self) -> None:
        if self._reader is not None:
            self._reader.on_data = _unheard  # of the same piece there may be more to read
        self._stream = self._reader = None
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is no subclass

    def connection_lost(self, exc: Exception | None) -> None:
        stream, reader = self._stream, self._reader
        self._stream = self._reader = None
        if stream is None or reader is None:
            return
        reader.closed()
        if reader.whole:
            stream.end(None)
        else:
            stream.end(Unreachable(f"{self._where}: the connection broke: {exc or 'closed'}"))

    def data_received(self, data: bytes) -> None:
        reader = self._reader
        if reader is None:  # nobody asked for anything
            self.abort()
            return
        try:
            reader.feed(data)
        except NoHttp as error:
            stream = self._stream
            self.abort()
            if stream is not None:
                stream.end(Unreachable(f"{self._where}: the answer is no HTTP: {error}"))
            return
        if reader.whole and self._reader is reader:
            self._whole(reader)

    def _whole(self, reader: ReplyReader) -> None:
        stream, self._stream, self._reader = self._stream, None, None
        if reader.keeps_alive and self.open:
            self._idle(self)
        elif self._transport is not None:
            self._transport.close()
        if stream is not None:
            stream.connection = None
            stream.end(None)


@dataclass(slots=True)
class Client:
    """Requests over connections that are kept."""

    connect_s: float = 5.0
    tls: ssl.SSLContext | None = None
    _idle: dict[tuple[str, int, bool], list[_Connection]] = field(default_factory=dict)

    async def request(
        self,
        url: str,
        *,
        method: str = "GET",
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
        timeout_s: float = 30.0,
    ) -> Reply:
        """Ask and wait for the whole answer. Raises `Unreachable`."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        parts: list[bytes] = []
        heads: list[tuple[int, Mapping[str, str]]] = []

        def ended(error: Unreachable | None) -> None:
            if not done.done():
                done.set_exception(error) if error else done.set_result(None)

        stream = Stream(lambda *got: heads.append(got), parts.append, ended)
        try:
            async with asyncio.timeout(timeout_s):
                await self.begin(stream, url, method=method, body=body, headers=headers)
                await done
        except TimeoutError as error:
            raise Unreachable(f"{url}: no answer in {timeout_s:g} s") from error
        finally:
            if not done.done():
                stream.abort()
        code, found = heads[-1] if heads else (0, {})
        return Reply(code, found, b"".join(parts))

    async def begin(
        self,
        stream: Stream,
        url: str,
        *,
        method: str = "POST",
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Send a request whose answer goes to `stream`. Raises `Unreachable` where nobody listens."""
        target = target_of(url)
        request = _request(target, method, body, headers or {})
        connection = await self._connection(target)
        if stream.ended:
            self._keep(target, connection)
            return
        connection.begin(stream, request)

    async def close(self) -> None:
        """Close the connections that are kept."""
        for kept in self._idle.values():
            for connection in kept:
                connection.abort()
        self._idle.clear()

    async def _connection(self, target: Target) -> _Connection:
        kept = self._idle.get((target.host, target.port, target.tls), [])
        while kept:
            connection = kept.pop()
            if connection.open:
                return connection
        where = f"{target.host}:{target.port}"
        tls = (self.tls or ssl.create_default_context()) if target.tls else None
        try:
            async with asyncio.timeout(self.connect_s):
                _, made = await asyncio.get_running_loop().create_connection(
                    lambda: _Connection(lambda c: self._keep(target, c), where),
                    target.host,
                    target.port,
                    ssl=tls,
                )
        except TimeoutError as error:
            raise Unreachable(f"{where}: does not answer in {self.connect_s:g} s") from error
        except OSError as error:
            raise Unreachable(f"{where}: {error.strerror or error}") from error
        return made

    def _keep(self, target: Target, connection: _Connection) -> None:
        self._idle.setdefault((target.host, target.port, target.tls), []).append(connection)


def _request(target: Target, method: str, body: bytes, headers: Mapping[str, str]) -> bytes:
    lines = [f"{method} {target.path} HTTP/1.1", f"Host: {target.host}:{target.port}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    if body or method in ("POST", "PUT"):
        lines.append(f"Content-Length: {len(body)}")
        if not any(name.lower() == "content-type" for name in headers):
            lines.append("Content-Type: application/json")
    return "\r\n".join([*lines, "", ""]).encode("latin-1", "replace") + body
