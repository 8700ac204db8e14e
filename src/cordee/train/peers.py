"""The other hosts of a job, as an agent sees them: it tells them what its council says, and tells that what they say."""

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

import msgspec

from cordee.train.door import Connection, entered
from cordee.train.host_wire import Elsewhere, FromHost, Join, Roster, Spoken
from cordee.train.policy.council import Ask, Council, Grant, Pulse, Said, Send
from cordee.train.rendezvous import check
from cordee.train.tasks import Tasks
from cordee.train.wire import Message, Refused, address

TICK_S = 0.05
AGAIN_S = 0.1
WAITING_MOST = 100
"""So many messages wait for a host that cannot be reached."""
_reader = msgspec.json.Decoder(FromHost)


class Peers:
    """Those of one host."""

    def __init__(
        self, roster: Roster, job: tuple[str, str], silent_s: float, changed: Callable[[], None]
    ) -> None:
        """`job`: what it is called, and its secret. `changed` is called when another host leads, or none, or its coordinator is elsewhere."""
        self.council = Council(roster.you, silent_s, roster.roll)
        self.addresses = dict(roster.hosts)
        """HOST:PORT of each agent."""
        self.seat = ""
        """HOST:PORT of this host's own coordinator, while it has one."""
        (self._job, self._secret), self._changed = job, changed
        self._seats: dict[int, str] = {}
        self._queues: dict[int, asyncio.Queue[Message]] = {}
        self._beside = Tasks()
        self._before: tuple[int | None, str] = (None, "")

    @property
    def coordinator(self) -> str:
        """HOST:PORT of the coordinator of the job, as far as is known; none: there is none."""
        leader = self.council.leader
        if leader == self.council.me:
            return self.seat
        return self._seats.get(leader, "") if leader is not None else ""

    def open(self) -> None:
        """Begin to talk."""
        self._beside.start(self._tick())

    def close(self) -> None:
        """Say nothing more."""
        self._beside.cancel()

    async def serve(self, connection: Connection) -> None:
        """Hear another host until its connection ends."""
        host = -1
        try:
            while True:
                said = await connection.hear(_reader)
                if isinstance(said, Join):
                    check(said, self._job)
                    connection.say(self._admitted(said))
                elif isinstance(said, Spoken):
                    host = said.host
                    self._heard(said)
        finally:
            if host >= 0:
                self._beside.start(self._look(host))

    # What is said.

    def _heard(self, spoken: Spoken) -> None:
        self.addresses[spoken.host], self._seats[spoken.host] = spoken.address, spoken.seat
        said: Said | None = spoken.pulse or spoken.ask or spoken.grant
        if said is not None:
            self._send(self.council.heard(said, time.monotonic()))
        self._look_around()

    def _send(self, sends: Sequence[Send]) -> None:
        me = self.council.me
        for send in sends:
            if send.to not in self._queues:
                self._queues[send.to] = asyncio.Queue()
                self._beside.start(self._talk(send.to))
            said = send.said
            spoken = Spoken(
                me,
                self.addresses[me],
                self.seat,
                pulse=said if isinstance(said, Pulse) else None,
                ask=said if isinstance(said, Ask) else None,
                grant=said if isinstance(said, Grant) else None,
            )
            if self._queues[send.to].qsize() < WAITING_MOST:
                self._queues[send.to].put_nowait(spoken)

    async def _talk(self, host: int) -> None:
        """Say to a host what there is to say, over one connection after another."""
        queue = self._queues[host]
        while host not in self.council.dead:
            try:
                async with asyncio.timeout(self.council.silent_s):
                    connection = await entered(self._address(host), self._secret, "host")
            except (OSError, Refused, TimeoutError):
                await asyncio.sleep(AGAIN_S)
                while not queue.empty():  # it is too old to be of use
                    queue.get_nowait()
                continue
            try:
                while connection.open:
                    connection.say(await queue.get())
            finally:
                connection.close()

    def _address(self, host: int) -> str:
        """HOST:PORT of a host's agent. Raises `ConnectionError` for one that voters are known to include, but not where it is."""
        if host not in self.addresses:
            raise ConnectionError(f"host {host} has not said yet where it is")
        return self.addresses[host]

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            self._send(self.council.tick(time.monotonic()))
            self._look_around()

    def _look_around(self) -> None:
        now = (self.council.leader, self.coordinator)
        if now != self._before or (self.council.leads and not self.seat):
            self._before = now
            self._changed()

    async def _look(self, host: int) -> None:
        """The connection of a host has ended: is its agent there? Of one that was killed the port may be open a moment
        longer than its connections, so that it is asked until the host says something again, or has been silent."""
        since_s, silent_s = time.monotonic(), self.council.silent_s
        while not self.council.heard_since(host, since_s) and time.monotonic() < since_s + silent_s:
            with suppress(OSError, TimeoutError):
                try:
                    async with asyncio.timeout(silent_s):
                        _, writer = await asyncio.open_connection(*address(self.addresses[host]))
                    writer.close()
                except ConnectionRefusedError:
                    self.council.ended(host, since_s)
                    return
            await asyncio.sleep(AGAIN_S)

    def _admitted(self, join: Join) -> Message:
        """What a host is told that wants to take part in what goes on already."""
        council = self.council
        if not council.leads:
            leader = council.leader
            return Elsewhere(self.addresses.get(leader, "") if leader is not None else "")
        number = max([*self.addresses, *council.proposed.voters]) + 1
        self.addresses[number] = join.address
        council.meets(number, time.monotonic())
        return Roster(number, dict(self.addresses), council.agreed)
