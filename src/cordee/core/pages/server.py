"""Serves a page and what it follows, to readers only: whatever is asked, nothing of what it shows changes."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

from cordee.core.errors import UsageError
from cordee.core.pages.feed import QUIET, told

LOOK_S = 0.5
"""So often the page gets what is new."""
QUIET_S = 10.0
"""So often it hears that somebody is still there."""
HEAD_MOST, HEAD_S = 16384, 10.0
COMMON = b"Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\nConnection: close\r\n"
Answer = tuple[str, bytes]
"""A kind of content, and the content."""


@dataclass(frozen=True, slots=True)
class Followed:
    """Something that changes."""

    path: str
    """Where a page asks for it."""
    version: Callable[[], int]
    """Another one each time that it has changed."""
    state: Callable[[], bytes]
    """As JSON."""


class PageServer:
    """Answers `GET`: files, what is made anew each time, and a feed of what is followed."""

    def __init__(
        self,
        files: Mapping[str, Answer],
        made: Mapping[str, Callable[[], Answer]],
        followed: Followed,
    ) -> None:
        """By path."""
        self._files, self._made, self._followed = files, made, followed
        self._over = asyncio.Event()
        self._open: set[asyncio.Task[None]] = set()

    async def hear(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection: one question."""
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        try:
            async with asyncio.timeout(HEAD_S):
                head = await reader.readuntil(b"\r\n\r\n")
            method, path, *_ = head.split(b"\r\n", 1)[0].decode("latin-1").split(" ")
            await self._answer(method, path.partition("?")[0], writer)
            await writer.drain()
        except (ValueError, OSError, TimeoutError, asyncio.IncompleteReadError):
            pass  # who asks like this, or has gone, gets nothing
        except asyncio.LimitOverrunError:
            pass
        finally:
            self._open.discard(task)
            writer.close()

    async def close(self) -> None:
        """Tell readers the last state."""
        self._over.set()
        if self._open:
            await asyncio.wait(self._open, timeout=1.0)

    async def _answer(self, method: str, path: str, writer: asyncio.StreamWriter) -> None:
        if method not in {"GET", "HEAD"}:
            _say(writer, "405 Method Not Allowed", "text/plain", b"this page is only read\n")
        elif path in self._files:
            _say(writer, "200 OK", *self._files[path])
        elif path in self._made:
            _say(writer, "200 OK", *self._made[path]())
        elif path == self._followed.path:
            await self._stream(writer)
        else:
            _say(writer, "404 Not Found", "text/plain", b"there is no such page\n")

    async def _stream(self, writer: asyncio.StreamWriter) -> None:
        """The state each time that it has changed, until nothing is served any more."""
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n" + COMMON + b"\r\n")
        seen, quiet_s = -1, 0.0
        while True:
            over = self._over.is_set()
            if seen != self._followed.version():
                seen, quiet_s = self._followed.version(), 0.0
                writer.write(told("status", self._followed.state()))
            elif quiet_s >= QUIET_S:
                quiet_s = 0.0
                writer.write(QUIET)
            await writer.drain()
            if over:
                return
            with suppress(TimeoutError):
                await asyncio.wait_for(self._over.wait(), LOOK_S)
            quiet_s += LOOK_S


def _say(writer: asyncio.StreamWriter, status: str, kind: str, body: bytes) -> None:
    head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
    writer.write(head.encode() + COMMON + b"\r\n" + body)


@asynccontextmanager
async def serving(server: PageServer, where: str) -> AsyncIterator[str]:
    """Serve at PORT or HOST:PORT; gives the address. Raises `UsageError` where it cannot be."""
    host, port = place(where)
    try:
        listening = await asyncio.start_server(server.hear, host, port, limit=HEAD_MOST)
    except OSError as error:
        why = os.strerror(error.errno) if error.errno else error
        raise UsageError(f"--page {where}: {why}: name another port, or leave it out") from error
    try:
        port = listening.sockets[0].getsockname()[1]
        yield f"http://{f'[{host}]' if ':' in host else host}:{port}/"
    finally:
        listening.close()
        await server.close()


def place(where: str) -> tuple[str, int]:
    """Host and port of PORT or HOST:PORT. Raises `UsageError`."""
    host, _, port = where.rpartition(":")
    if not port.isdecimal() or int(port) > 65535:
        raise UsageError(f"--page {where}: give PORT, HOST:PORT, or off")
    return host.strip("[]") or "127.0.0.1", int(port)
