"""How the hosts of a job find each other: all ask at places that they know, and the first of them says who takes part."""

import asyncio
import socket
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import msgspec

from cordee.core.errors import CordeeError, UsageError
from cordee.train.door import Connection, entered
from cordee.train.host_wire import Elsewhere, FromHost, Join, Roster
from cordee.train.policy.council import opened
from cordee.train.wire import Leave, Refused, address

AGAIN_S = 0.2
LOOK_S = 5.0
"""So often the first host asks whether the others have begun without it."""
ASK_S = 2.0
LAST_CALL_S = 5.0
"""Where fewer hosts than at most are enough, so long the others are waited for after one has come."""
_reader = msgspec.json.Decoder(FromHost)


@dataclass(frozen=True, slots=True, kw_only=True)
class Meeting:
    """Where and how many."""

    endpoints: tuple[str, ...]
    """HOST:PORT of agents; the first is that of the host that begins."""
    least: int
    most: int
    rank: int = -1
    """Which of the endpoints is this host's; -1: the one whose address it has, if any."""
    job: str = "cordee"
    """Hosts of another job are refused."""
    address: str = ""
    """HOST or HOST:PORT under which others reach this host; none: as it follows from the endpoints."""
    within_s: float = 600.0

    def __post_init__(self) -> None:
        if not 1 <= self.least <= self.most:
            raise UsageError(
                f"{self.least}:{self.most} hosts: at least one, and no more than at most"
            )

    def place(self) -> tuple[str, int]:
        """Where this host's agent listens; port 0: any."""
        if self.address:
            host, _, port = self.address.partition(":")
            if not host or not (port or "0").isdecimal():
                raise UsageError(f"--address {self.address}: is no HOST or HOST:PORT")
            return host, int(port or 0)
        if 0 <= self.rank < len(self.endpoints):
            return address(self.endpoints[self.rank])
        for endpoint in self.endpoints if self.rank < 0 else ():
            if _is_here(*address(endpoint)):
                return address(endpoint)
        return _seen_from(*address(self.endpoints[0])), 0

    def begins(self, place: str) -> bool:
        """Whether this host begins, if nobody has yet."""
        return self.rank == 0 or (self.rank < 0 and place == self.endpoints[0])


class Rendezvous:
    """That of one host."""

    def __init__(
        self, meeting: Meeting, place: str, secret: str, refused: Callable[[str], None]
    ) -> None:
        """`place`: HOST:PORT at which this host's agent listens. `refused` is called where another one lets this one not in."""
        self._meeting, self._place, self._secret = meeting, place, secret
        self._tell, self._refusing = refused, set[str]()
        self._hosts: dict[int, str] = {}
        self._came, self._came_s = asyncio.Event(), time.monotonic()
        self._met: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def serve(self, connection: Connection) -> None:
        """Answer another host, before this one is in a job."""
        join = await connection.hear(_reader)
        if not isinstance(join, Join):
            raise Refused("a host asks first whether it may take part")
        check(join, self._meeting.job)
        if not self._hosts or join.address == self._place:  # it may know itself by a name
            connection.say(Elsewhere(""))
            return
        number = join.rank if join.rank > 0 else min(set(range(1, 1 << 16)) - self._hosts.keys())
        if self._hosts.get(number, join.address) != join.address:
            raise Refused(f"{self._hosts[number]} has --node-rank {number} already")
        self._hosts[number] = join.address
        self._came.set()
        self._came_s = time.monotonic()
        gone = asyncio.ensure_future(connection.hear(_reader))  # it says no more
        either: list[asyncio.Future[Any]] = [gone, self._met]
        try:
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if self._met.done():
                connection.say(Roster(number, self._hosts, opened(self._hosts)))
            await gone
        finally:
            gone.cancel()
            if not self._met.done():
                self._hosts.pop(number, None)

    async def found(self) -> Roster:
        """The hosts of the job, when they have come together. Raises `CordeeError`."""
        meeting, end_s = self._meeting, time.monotonic() + self._meeting.within_s
        begins = meeting.begins(self._place)
        asked: Sequence[str] = [e for e in meeting.endpoints if e != self._place]
        while time.monotonic() < end_s:
            for endpoint in asked:
                with suppress(OSError, EOFError, TimeoutError, msgspec.DecodeError):
                    try:
                        roster = await self._ask(endpoint, most_s=ASK_S if begins else None)
                    except Refused as error:
                        self._refused(endpoint, error, len(asked), begins=begins)
                        continue
                    if roster is not None:
                        return roster
            if begins:
                until_s = min(end_s, time.monotonic() + LOOK_S)
                if (gathered := await self._gathered(until_s)) is not None:
                    return gathered
            else:
                await asyncio.sleep(AGAIN_S)
        if begins:
            came = f"{len(self._hosts)} of {meeting.least} hosts have come"
            raise CordeeError(f"{came} in {meeting.within_s:.0f} s")
        raise CordeeError(
            f"no job was found at {', '.join(meeting.endpoints)} in {meeting.within_s:.0f} s: does the first host run?"
        )

    def _refused(self, endpoint: str, error: Refused, asked: int, *, begins: bool) -> None:
        """Another host lets this one not in: raises `error`, unless it may be that one which is wrong."""
        new = endpoint not in self._refusing
        self._refusing.add(endpoint)
        most = 2 * len(self._refusing) > asked
        alone = (
            asked == 1 and self._meeting.least > 1
        )  # one against one: whoever is right comes yet
        if (most and not alone) if begins else (most or endpoint == self._meeting.endpoints[0]):
            raise error
        if new:
            self._tell(str(error))

    async def _gathered(self, until_s: float) -> Roster | None:
        """Wait for the others, as the first. None: they have not come; others may have begun, and it be one that comes back."""
        meeting, self._hosts[0] = self._meeting, self._place
        while len(self._hosts) < meeting.most:
            now_s = time.monotonic()
            enough = len(self._hosts) >= meeting.least
            if enough and now_s - self._came_s >= LAST_CALL_S:
                break
            if now_s >= until_s:
                return None
            self._came.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(min(until_s, now_s + AGAIN_S) - now_s):
                    await self._came.wait()
        self._met.set_result(None)
        return Roster(0, dict(self._hosts), opened(self._hosts))

    async def _ask(self, endpoint: str, most_s: float | None) -> Roster | None:
        """Ask at one place, and where that sends one. Raises what a connection does, and `Refused`."""
        async with asyncio.timeout(ASK_S):
            connection = await entered(endpoint, self._secret, "host")
        try:
            connection.say(Join(self._meeting.job, self._place, self._meeting.rank))
            async with asyncio.timeout(most_s):
                answer = await connection.hear(_reader)
        finally:
            connection.close()
        if isinstance(answer, Leave):
            raise Refused(f"{endpoint} refuses this host: {answer.reason}")
        if isinstance(answer, Elsewhere) and answer.leader not in ("", endpoint, self._place):
            return await self._ask(answer.leader, most_s)
        return answer if isinstance(answer, Roster) else None


def check(join: Join, job: str) -> None:
    """Raises `Refused` where a host is of another job."""
    if join.job != job:
        raise Refused(f"the host at {join.address} is of job {join.job!r}, this one is {job!r}")


def _is_here(host: str, port: int) -> bool:
    """Whether this host has an address, and its port is free."""
    with suppress(OSError), socket.socket() as tried:
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        tried.bind((host, port))
        return True
    return False


def _seen_from(host: str, port: int) -> str:
    """The address that this host has on the way to another one. Raises `UsageError`."""
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as way:
            way.connect((host, port))
            seen: str = way.getsockname()[0]
            return seen
    except OSError as error:
        raise UsageError(
            f"{host}:{port}: {error.strerror or error}: no host can be reached there"
        ) from error
