"""Does the server answer plainly, stream at once, and stay unharmed by clients that misbehave?"""

import asyncio
import http.client
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing

import pytest
import uvloop

from cordee.core.http.client import Client, Stream, Unreachable
from cordee.core.http.exchange import Exchange
from cordee.core.http.server import Limits, Listener, listen

LIMITS = Limits(body_bytes=100_000, head_bytes=8_000, request_s=1.0, idle_s=30.0)


class Service:
    """A server in a thread of its own, with what its handler saw."""

    def __init__(self) -> None:
        self.gone = threading.Event()
        self.port = 0
        self.loop = uvloop.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> "Service":
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self.listener.close(), self.loop).result(10)
        self.loop.call_soon_threadsafe(self.loop.call_later, 0.1, self.loop.stop)
        self._thread.join(10)
        self.loop.close()

    def _run(self) -> None:
        self.listener: Listener = self.loop.run_until_complete(
            listen(self.handle, "127.0.0.1", 0, limits=LIMITS)
        )
        self.port = self.listener.port
        self._ready.set()
        self.loop.run_forever()

    def handle(self, exchange: Exchange) -> object:
        if exchange.path == "/echo":
            exchange.send(
                200, exchange.body, "text/plain", {"X-Query": exchange.query.get("a", "")}
            )
        elif exchange.path == "/stream":
            return self.stream(exchange)
        elif exchange.path == "/fault":
            raise ZeroDivisionError
        else:
            exchange.fail(404, f"no such path: {exchange.path}")
        return None

    async def stream(self, exchange: Exchange) -> None:
        exchange.when_gone(self.gone.set)
        exchange.start(200)
        for number in range(int(exchange.query["pieces"])):
            exchange.write(b"data: %d\n\n" % number)
            await exchange.writable()
            await asyncio.sleep(0.01)
        exchange.finish()


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    with Service() as running:
        yield running


def raw(service: Service, data: bytes, wait_s: float = 5.0) -> bytes:
    with socket.create_connection(("127.0.0.1", service.port), timeout=wait_s) as connection:
        connection.sendall(data)
        received = b""
        while piece := connection.recv(65536):
            received += piece
        return received


def test_one_connection_serves_many_requests(service: Service) -> None:
    with closing(http.client.HTTPConnection("127.0.0.1", service.port)) as connection:
        for text in (b"one", b"two" * 1000, b""):
            connection.request("POST", "/echo?a=b%20c", body=text)
            reply = connection.getresponse()
            assert (reply.status, reply.read(), reply.headers["X-Query"]) == (200, text, "b c")


def test_requests_sent_at_once_are_answered_in_order(service: Service) -> None:
    one = b"GET /stream?pieces=3 HTTP/1.1\r\nHost: x\r\n\r\n"
    two = b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello"
    received = raw(service, one + two)
    assert received.index(b"data: 2") < received.index(b"hello")


def test_a_stream_comes_in_pieces(service: Service) -> None:
    async def pieces() -> list[tuple[float, bytes]]:
        client, got = Client(), []
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        stream = Stream(
            lambda status, _: got.append((0.0, b"%d" % status)),
            lambda data: got.append((time.monotonic(), data)),
            lambda error: done.set_result(None),
        )
        await client.begin(
            stream, f"http://127.0.0.1:{service.port}/stream?pieces=20", method="GET"
        )
        await done
        await client.close()
        return got

    got = asyncio.run(pieces())
    assert got[0] == (0.0, b"200")
    assert b"".join(data for _, data in got[1:]).count(b"data:") == 20
    assert len({at for at, _ in got[1:]}) > 5


def test_the_service_learns_that_a_client_went_away(service: Service) -> None:
    service.gone.clear()
    with socket.create_connection(("127.0.0.1", service.port)) as connection:
        connection.sendall(b"GET /stream?pieces=100000 HTTP/1.1\r\nHost: x\r\n\r\n")
        connection.recv(10)
    assert service.gone.wait(5)


def test_a_fault_of_the_handler_is_an_error_500_and_no_more(service: Service) -> None:
    with closing(http.client.HTTPConnection("127.0.0.1", service.port)) as connection:
        connection.request("GET", "/fault")
        reply = connection.getresponse()
        assert reply.status == 500
        assert b"server_error" in reply.read()
        connection.request("POST", "/echo", body=b"still there")
        assert connection.getresponse().read() == b"still there"


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"this is no http\r\n\r\n", 400),
        (b"GET /../../etc/passwd HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 404),
        (b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 100000000\r\n\r\nx", 413),
        (b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\nX-Long: " + b"a" * 9000 + b"\r\n\r\n", 431),
        (b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 50\r\n\r\nslowly", 408),
        (b"GET /echo HT", 408),
        (
            b"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
            + b"8000\r\n" + b"x" * 0x8000 + b"\r\n"
            + b"10000\r\n" + b"x" * 0x10000 + b"\r\n8000\r\n" + b"x" * 0x8000 + b"\r\n0\r\n\r\n",
            413,
        ),
        (b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n", 404),
    ],
)  # fmt: skip
def test_bad_requests_get_an_error_and_the_service_goes_on(
    service: Service, request_bytes: bytes, status: int
) -> None:
    assert raw(service, request_bytes).startswith(b"HTTP/1.1 %d" % status)
    with socket.create_connection(("127.0.0.1", service.port)) as connection:
        connection.sendall(b"POST /echo HTTP/1.0\r\nContent-Length: 2\r\n\r\nok")
        assert connection.recv(1000).endswith(b"ok")


def test_one_who_wants_no_more_hears_no_more_of_the_same_piece() -> None:
    reply = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"3\r\none\r\n" * 3

    async def heard() -> list[bytes]:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(reply)
            await reader.read()  # until the client goes
            writer.close()
            closed.set()

        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        got: list[bytes] = []
        closed = asyncio.Event()

        def take(data: bytes) -> None:
            got.append(data)
            stream.abort()

        stream = Stream(lambda status, headers: None, take, lambda error: None)
        client = Client()
        await client.begin(stream, f"http://127.0.0.1:{port}/", method="GET")
        while not got:
            await asyncio.sleep(0.01)
        await client.close()
        await closed.wait()
        server.close()
        return got

    assert asyncio.run(heard()) == [b"one"]


def test_a_client_says_what_it_could_not_reach() -> None:
    async def ask(url: str) -> None:
        await Client().request(url, timeout_s=2)

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    with pytest.raises(Unreachable, match=str(port)):
        asyncio.run(ask(f"http://127.0.0.1:{port}/"))
    with pytest.raises(Unreachable, match="no http"):
        asyncio.run(ask("ftp://x/"))
