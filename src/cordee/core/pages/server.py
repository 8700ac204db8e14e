"""Serves a page and what it follows, to readers only: whatever is asked, nothing of what it shows changes."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager

from cordee.core.errors import UsageError
from cordee.core.http.exchange import Exchange
from cordee.core.http.server import Limits, listen
from cordee.core.pages.feed import Feed
from cordee.core.pages.files import Content, Files

LIMITS = Limits(head_bytes=16_384, body_bytes=16_384, request_s=10.0)
LAST_S = 1.0
"""So long readers have to take the last state."""
READING = ("GET", "HEAD")
HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}


def answered(exchange: Exchange, files: Files) -> bool:
    """Answer where one of `files` is asked for; says whether it is."""
    found = files.get(exchange.path) if exchange.method in READING else None
    if found is None:
        return False
    _send(exchange, found)
    return True


class PageServer:
    """Answers `GET`: files, what is made anew each time, and a feed."""

    def __init__(
        self, files: Files, made: Mapping[str, Callable[[], Content]], feed: tuple[str, Feed]
    ) -> None:
        """By path."""
        self._files, self._made, (self._feed_path, self.feed) = files, made, feed

    def handle(self, exchange: Exchange) -> Awaitable[None] | None:
        """Answer one request."""
        if exchange.method not in READING:
            exchange.fail(405, "this page is only read")
        elif answered(exchange, self._files):
            pass
        elif exchange.path in self._made:
            _send(exchange, self._made[exchange.path]())
        elif exchange.path == self._feed_path:
            return self.feed.tell(exchange)
        else:
            exchange.fail(404, f"there is no {exchange.path}")
        return None


def _send(exchange: Exchange, content: Content) -> None:
    kind, body = content
    exchange.send(200, body, kind, HEADERS)


@asynccontextmanager
async def serving(server: PageServer, where: str) -> AsyncIterator[str]:
    """Serve at PORT or HOST:PORT; gives the address. Raises `UsageError` where it cannot be."""
    host, port = place(where)
    listener = await listen(server.handle, host, port, limits=LIMITS, option="--page")
    try:
        yield f"http://{f'[{host}]' if ':' in host else host}:{listener.port}/"
    finally:
        server.feed.end()
        await listener.drain(LAST_S)
        await listener.close()


def place(where: str) -> tuple[str, int]:
    """Host and port of PORT or HOST:PORT. Raises `UsageError`."""
    host, _, port = where.rpartition(":")
    if not port.isdecimal() or int(port) > 65535:
        raise UsageError(f"--page {where}: give PORT, HOST:PORT, or off")
    return host.strip("[]") or "127.0.0.1", int(port)
