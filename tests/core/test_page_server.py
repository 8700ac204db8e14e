"""Does a page that follows something get it, and can nobody change anything by it?"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from cordee.core.errors import UsageError
from cordee.core.pages.feed import Feed
from cordee.core.pages.server import PageServer, serving


class Counted:
    """Something that changes, and its page."""

    def __init__(self) -> None:
        self.number = 0
        self.server = PageServer(
            {"/": ("text/html", b"<p>here</p>")},
            {"/number": lambda: ("text/plain", b"%d" % self.number)},
            ("/events", Feed(lambda: b'{"n":%d}' % self.number)),
        )


@asynccontextmanager
async def sent(address: str, request: str) -> AsyncIterator[asyncio.StreamReader]:
    host, _, port = address.removeprefix("http://").rstrip("/").rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(request.encode() + b" HTTP/1.0\r\n\r\n")
    await writer.drain()
    yield reader
    writer.close()
    await writer.wait_closed()


def answer(request: str) -> str:
    async def run() -> bytes:
        counted = Counted()
        async with serving(counted.server, "0") as address, sent(address, request) as reader:
            return await reader.read()

    return asyncio.run(run()).decode()


def test_a_page_and_what_is_made_anew_are_answered() -> None:
    assert answer("GET /").endswith("\r\n\r\n<p>here</p>")
    assert answer("GET /number?of=all").endswith("\r\n\r\n0")
    assert answer("GET /nowhere").startswith("HTTP/1.1 404 ")


def test_a_page_is_only_read() -> None:
    assert answer("POST /number").startswith("HTTP/1.1 405 ")


def test_each_change_is_told_and_the_last_one_at_the_end() -> None:
    async def run() -> bytes:
        counted = Counted()
        async with AsyncExitStack() as client:
            async with serving(counted.server, "0") as address:
                reader = await client.enter_async_context(sent(address, "GET /events"))
                await reader.readuntil(b'data: {"n":0}\n\n')
                counted.number = 1
                assert await reader.readuntil(b"\n\n") == b'event: status\ndata: {"n":1}\n\n'
                counted.number = 2
            return await reader.read()

    assert asyncio.run(run()).endswith(b'event: status\ndata: {"n":2}\n\n')


@pytest.mark.parametrize("where", ["port", "host:", "1:99999"])
def test_a_place_that_is_none_is_said(where: str) -> None:
    async def run() -> None:
        async with serving(Counted().server, where):
            pass

    with pytest.raises(UsageError, match="give PORT, HOST:PORT"):
        asyncio.run(run())
