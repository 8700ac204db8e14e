"""The process of a coordinator, started by the agent that leads: `python -m cordee.train.chair`.

It reads what it is to begin with as a line of JSON, and then, line by line, until when it may lead.
"""

import asyncio
import math
import os
import socket
import sys

import msgspec

from cordee.core.events import Events
from cordee.core.programs import end_with_parent
from cordee.train.coordinator import Coordinator, Reign
from cordee.train.policy.succession import Known
from cordee.train.policy.trust import Checks
from cordee.train.policy.workers import Limits
from cordee.train.tasks import Tasks, on_failure

FAREWELL_S = 5.0


class Opening(msgspec.Struct, frozen=True):
    """What a coordinator begins with."""

    listener: int
    """The descriptor of a socket that listens."""
    secret: str
    limits: Limits
    checks: Checks
    spares: int
    known: Known
    hosts: tuple[int, ...]
    until_s: float | None


class Extension(msgspec.Struct, frozen=True):
    """Until when it may lead, on the clock of this computer."""

    until_s: float


def main() -> None:
    """Coordinate until the job is over, or the agent ends this."""
    end_with_parent()
    line = sys.stdin.buffer.readline()
    if line:  # else no other coordinator was ever needed
        asyncio.run(_coordinate(msgspec.json.decode(line, type=Opening)))


async def _coordinate(opening: Opening) -> None:
    reign = Reign(spares=opening.spares, before=opening.known, hosts=opening.hosts)
    on_failure(_failed)
    coordinator = Coordinator(opening.limits, opening.secret, Events(), opening.checks, reign)
    coordinator.until_s = math.inf if opening.until_s is None else opening.until_s
    await coordinator.open(socket.socket(fileno=opening.listener))
    coordinator.events.add("coordinator", term=opening.known.term, pid=os.getpid())
    beside = Tasks()
    beside.start(_extend(coordinator))
    if coordinator.membership.over:  # of one that is gone: some hosts may not have heard it
        await asyncio.sleep(FAREWELL_S)
    else:
        await coordinator.finished
    await coordinator.agents.parted(FAREWELL_S)
    beside.cancel()
    await coordinator.close()


def _failed(_: str, trace: str) -> None:
    """A mistake of ours: another coordinator goes on from what the agents know."""
    sys.stderr.write(trace)
    sys.stderr.flush()
    os._exit(1)


async def _extend(coordinator: Coordinator) -> None:
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        coordinator.until_s = msgspec.json.decode(line, type=Extension).until_s
    os._exit(1)  # the agent is gone


if __name__ == "__main__":
    main()
