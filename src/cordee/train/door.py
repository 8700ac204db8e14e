"""Where others come in: whoever connects must know the secret of the job, and speak the same version."""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TypeVar

import msgspec

from cordee.train.tasks import Tasks
from cordee.train.wire import (
    LENGTH,
    MESSAGE_MOST,
    PROTOCOL,
    Answer,
    Challenge,
    Leave,
    Message,
    Refused,
    Role,
    address,
    check,
    new_secret,
    pack,
    sign,
)

GREETING_S = 10.0
_answers = msgspec.json.Decoder(Answer)
_challenges = msgspec.json.Decoder(Challenge)
M = TypeVar("M")


class Connection:
    """One that was let in, or that was opened."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    @property
    def open(self) -> bool:
        """Whether the other side is there, as far as is known."""
        return not self._writer.is_closing() and not self._reader.at_eof()

    def say(self, message: Message) -> None:
        """Send, unless the other side is gone."""
        if not self._writer.is_closing():
            self._writer.write(pack(message))

    async def hear(self, decoder: msgspec.json.Decoder[M]) -> M:
        """The next message. Raises `Refused`, `msgspec.DecodeError`, and what a connection does that ends."""
        (size,) = LENGTH.unpack(await self._reader.readexactly(LENGTH.size))
        if size > MESSAGE_MOST:
            raise Refused(f"a message of {size} bytes is none of this protocol")
        return decoder.decode(await self._reader.readexactly(size))

    def close(self) -> None:
        self._writer.close()


class Door:
    """Listens, and lets in."""

    def __init__(
        self,
        secret: str,
        enter: Callable[[Answer, Connection], Awaitable[None]],
        refused: Callable[[str], None],
        *,
        agent: bool = False,
    ) -> None:
        """`enter` is called with each one that is let in, and the connection closed when it returns."""
        self._secret, self._enter, self._refused, self._agent = secret, enter, refused, agent
        self._server: asyncio.Server | None = None
        self._open: set[Connection] = set()
        self._beside = Tasks()

    async def open(self, at: tuple[str, int] | socket.socket) -> int:
        """Listen there; gives the port. Raises `OSError` where it is taken."""
        if isinstance(at, tuple):
            self._server = await asyncio.start_server(self._came, *at)
        else:
            self._server = await asyncio.start_server(self._came, sock=at)
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    def close(self) -> None:
        """Nobody comes in any more, and who is in goes."""
        if self._server is not None:
            self._server.close()
        for connection in self._open:
            connection.close()

    def _came(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._beside.start(self._serve(reader, writer))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = Connection(reader, writer)
        self._open.add(connection)
        try:
            async with asyncio.timeout(GREETING_S):
                nonce = new_secret()
                connection.say(Challenge(nonce, agent=self._agent))
                answer = await connection.hear(_answers)
                check(answer, self._secret, nonce)
            await self._enter(answer, connection)
        except (asyncio.IncompleteReadError, OSError, asyncio.CancelledError):
            pass  # it is gone, or no way leads there any more
        except (Refused, msgspec.DecodeError) as error:
            self._refused(str(error))
            with suppress(OSError):
                connection.say(Leave(str(error), error=True))
        finally:
            self._open.discard(connection)
            connection.close()


async def entered(to: str, secret: str, role: Role) -> Connection:
    """Come in elsewhere. Raises `OSError`, and `Refused` where another version is spoken."""
    reader, writer = await asyncio.open_connection(*address(to))
    connection = Connection(reader, writer)
    try:
        async with asyncio.timeout(GREETING_S):
            challenge = await connection.hear(_challenges)
    except (asyncio.IncompleteReadError, TimeoutError, msgspec.DecodeError) as error:
        connection.close()
        raise ConnectionError(f"{to} is no cordee job: {error}") from error
    connection.say(Answer(sign(secret, challenge.nonce), role))
    if challenge.protocol != PROTOCOL:  # the other side says the same, of this one
        connection.close()
        raise Refused(
            f"the job at {to} speaks protocol {challenge.protocol}, this host {PROTOCOL}: install the "
            "same version of cordee on all hosts"
        )
    return connection
