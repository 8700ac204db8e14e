"""Who comes in: with whom a job begins, and which of those that wait get the state, and from whom."""

from collections.abc import Callable, Iterable, Mapping, Sequence

from cordee.train.policy.workers import Limits, Worker


def founders(workers: Iterable[Worker], limits: Limits) -> list[int]:
    """The members that a job begins with, or begins again; those with a state come first. None: there are not enough."""
    chosen: list[int] = []
    there = list(workers)
    each = limits.founders // limits.replica
    for place in range(limits.replica):
        column = [w for w in there if w.ready and w.place == place]
        if len(column) < each:
            return []
        chosen += [w.number for w in sorted(column, key=lambda w: (-w.step, w.number))[:each]]
    return chosen if len(chosen) >= limits.least else []


def fed(
    workers: Mapping[int, Worker],
    members: Sequence[int],
    most: int,
    column: Callable[[int | None], Sequence[int]],
) -> list[Worker]:
    """Those that are given the state now, each by a member of its column that feeds few: as many as there is room for."""
    found: list[Worker] = []
    waiting = [w for w in workers.values() if w.ready and w.number not in members]
    room = most - len(members) - sum(w.fed_by is not None for w in waiting)
    for comer in sorted((w for w in waiting if w.fed_by is None), key=lambda w: w.number):
        able = column(comer.place)
        if room <= 0 or not able:
            continue
        sources = [w.fed_by for w in workers.values() if w.fed_by is not None]
        comer.fed_by = min(able, key=lambda n: (sources.count(n), -n))
        found.append(comer)
        room -= 1
    return found
