"""Do agents of two hosts see that the other one's process has ended, in whatever order the system closes what it had open?"""

import asyncio
from collections.abc import Awaitable, Callable

from cordee.train.door import Connection, Door
from cordee.train.host_wire import Roster
from cordee.train.peers import Peers
from cordee.train.policy.council import Roll
from cordee.train.wire import Answer

SILENT_S = 3.0
SECRET = "known"


class Host:
    """An agent's door, and what it knows of the other host."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.heard: list[Connection] = []
        self.door = Door(SECRET, self._enter, lambda reason: None, agent=True)

    async def opens(self) -> str:
        return f"127.0.0.1:{await self.door.open(('127.0.0.1', 0))}"

    def begins(self, hosts: dict[int, str]) -> None:
        roster = Roster(self.number, hosts, Roll(0, 1, tuple(hosts)))
        self.peers = Peers(roster, ("job", SECRET), SILENT_S, lambda: None)
        self.peers.open()

    @property
    def leads(self) -> bool:
        return self.peers.council.leads

    async def _enter(self, _: Answer, connection: Connection) -> None:
        self.heard.append(connection)
        await self.peers.serve(connection)


async def comes_true(so: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not so():
            await asyncio.sleep(0.02)


def with_two(told: Callable[[Host, Host], Awaitable[None]]) -> None:
    async def both() -> None:
        first, second = Host(0), Host(1)
        hosts = {host.number: await host.opens() for host in (first, second)}
        for host in (first, second):
            host.begins(hosts)
        await comes_true(lambda: first.leads and second.peers.council.leader == 0)
        await asyncio.sleep(1.0)
        await told(first, second)
        for host in (first, second):
            host.peers.close()
            host.door.close()

    asyncio.run(both())


def test_the_second_host_leads_where_the_port_of_the_first_is_open_longer_than_its_connections() -> (
    None
):
    async def falls(first: Host, second: Host) -> None:
        first.peers.close()
        await asyncio.sleep(0.5)
        assert not second.leads
        first.door.close()
        await comes_true(lambda: second.leads)

    with_two(falls)


def test_a_host_whose_connection_ends_and_that_comes_again_is_not_taken_for_gone() -> None:
    async def blinks(first: Host, second: Host) -> None:
        connections = len(second.heard)
        second.heard[-1].close()
        await comes_true(lambda: len(second.heard) > connections)
        await asyncio.sleep(2 * SILENT_S)
        assert second.peers.council.dead == set()
        assert first.leads
        assert second.peers.council.leader == 0

    with_two(blinks)
