"""Who keeps a part of the model besides its own host: the next host of a ring, so that one that falls takes none with it.

Each worker with a part of the model keeps it in the memory of its host. What only one host has so is given to a worker
of another host, too, who writes it into the memory there.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from cordee.train.policy.effects import Copies, Effect, Note
from cordee.train.policy.workers import Worker

ALONE = "parts of the model are kept on one host only: if it falls, they are lost with it"
UNTOLD = -1


def keepers(columns: Sequence[Sequence[int]], hosts: Mapping[int, int]) -> dict[int, int]:
    """Members that give what they keep, and the worker of another host to whom.

    `columns`: of each place the members that have it. `hosts`: of all workers that are there. Workers that are no
    members get copies only where all members are on one host.
    """
    members = {number for column in columns for number in column}
    taking = members if len({hosts[n] for n in members}) > 1 else set(hosts)
    ring = sorted({hosts[number] for number in taking})
    given: Counter[int] = Counter()
    found: dict[int, int] = {}
    for column in columns:
        there = {hosts[number] for number in column}
        if len(there) != 1 or len(ring) < 2:
            continue
        after = ring[(ring.index(*there) + 1) % len(ring)]
        able = sorted(number for number in taking if hosts[number] == after)
        found[min(column)] = able[given[after] % len(able)]
        given[after] += 1
    return found


def homes(columns: Sequence[Sequence[int]], hosts: Mapping[int, int]) -> dict[int, set[int]]:
    """Of each place the hosts in whose memory it is."""
    found = keepers(columns, hosts)
    return {
        place: {hosts[n] for n in column} | {hosts[found[n]] for n in column if n in found}
        for place, column in enumerate(columns)
    }


@dataclass(slots=True)
class Keepers:
    """What was decided last."""

    homes: dict[int, set[int]] = field(default_factory=dict)
    """Of each place the hosts in whose memory it is."""
    _told: dict[int, int | None] = field(default_factory=dict)
    _alone: bool = False

    def decide(
        self, workers: Mapping[int, Worker], members: Sequence[int], size: int
    ) -> list[Effect]:
        """What is to be told now that these are there. `size`: so many places a replica has."""
        there = [workers[number] for number in members if number in workers]
        columns = [[w.number for w in there if w.place == place] for place in range(size)]
        if size == 1 or not all(columns):
            return []
        hosts = {worker.number: worker.host for worker in workers.values()}
        found = keepers(columns, hosts)
        told = {worker.number: found.get(worker.number) for worker in there}
        changed = [pair for pair in told.items() if self._told.get(pair[0], UNTOLD) != pair[1]]
        alone = any(len({hosts[n] for n in c}) == 1 and min(c) not in found for c in columns)
        effects: list[Effect] = [Copies(tuple(changed))] if changed else []
        effects += [Note("one-host", ALONE)] if alone and not self._alone else []
        self.homes, self._told, self._alone = homes(columns, hosts), told, alone
        return effects
