"""Which host starts another worker: the one that runs fewest, of those that have room and start them well."""

from collections.abc import Sequence
from dataclasses import dataclass, field

FUTILE_MOST = 3
"""So many workers in a row that ended before they were ready are enough for a host."""


@dataclass(slots=True)
class Host:
    """What is known of one."""

    number: int
    running: set[int] = field(default_factory=set)
    most: int | None = None
    """So many workers it can run; None: as many as are wanted."""
    futile: int = 0
    """Workers in a row that ended there before they were ready."""

    @property
    def free(self) -> bool:
        """Whether it can start another one."""
        room = self.most is None or len(self.running) < self.most
        return room and self.futile < FUTILE_MOST

    @property
    def room(self) -> int | None:
        """So many workers can run there; None: as many as are wanted."""
        return self.most if self.futile < FUTILE_MOST else len(self.running)


def room(hosts: Sequence[Host]) -> int | None:
    """So many workers can run on all of them; None: as many as are wanted."""
    rooms = [host.room for host in hosts]
    return None if None in rooms else sum(each or 0 for each in rooms)


def place(hosts: Sequence[Host], wanted: int) -> list[int]:
    """The hosts that start a worker each, so that as many run as are wanted, or as there is room for."""
    running = {host.number: len(host.running) for host in hosts}
    starts: list[int] = []
    while sum(running.values()) < wanted:
        free = [
            host
            for host in hosts
            if host.free and (host.most is None or running[host.number] < host.most)
        ]
        if not free:
            break
        chosen = min(free, key=lambda host: (running[host.number], host.number)).number
        running[chosen] += 1
        starts.append(chosen)
    return starts
