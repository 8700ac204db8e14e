"""Who comes in: with whom a job begins, and which of those that wait get the state, and from whom."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

from cordee.train.policy.effects import Effect, Feed, Seat
from cordee.train.policy.teams import vacant
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


def seated(
    workers: Iterable[Worker], limits: Limits, homes: Mapping[int, Collection[int]]
) -> list[Effect]:
    """Gives those a place in a replica that have none, where someone is missing.

    `homes`: of places the hosts in whose memory they are; who runs there comes first.
    """
    there = list(workers)
    without = [worker for worker in there if worker.place is None]
    found: list[Effect] = []
    while without:
        taken = [worker.place for worker in there if worker.place is not None]
        place = vacant(taken, limits.replica, limits.workers)
        if place is None:
            break
        chosen = max(without, key=lambda worker: worker.host in homes.get(place, ()))
        chosen.place = place
        without.remove(chosen)
        found.append(Seat(chosen.number, place))
    return found


def comers(
    workers: Iterable[Worker],
    members: Sequence[int],
    room: int,
    column: Callable[[int | None], Sequence[int]],
) -> list[int]:
    """Those that come in now, so many as there is room for: they have the state, or there is nobody who could give it."""
    waiting = (w for w in workers if w.ready and w.number not in members)
    able = [w for w in waiting if w.caught_up or not column(w.place)]
    chosen = sorted(able, key=lambda w: w.number)[:room]
    for worker in chosen:
        worker.fed_by, worker.caught_up = None, False
    return [worker.number for worker in chosen]


def fed(
    workers: Mapping[int, Worker],
    members: Sequence[int],
    most: int,
    column: Callable[[int | None], Sequence[int]],
) -> list[Effect]:
    """Those are given the state now that wait, each by a member of its column that feeds few: as many as there is room for."""
    found: list[Effect] = []
    waiting = [w for w in workers.values() if w.ready and w.number not in members]
    room = most - len(members) - sum(w.fed_by is not None for w in waiting)
    for comer in sorted((w for w in waiting if w.fed_by is None), key=lambda w: w.number):
        if room <= 0:
            break
        able = column(comer.place)
        if not able:
            continue
        sources = [w.fed_by for w in workers.values() if w.fed_by is not None]
        comer.fed_by = min(able, key=lambda n: (n in comer.avoid, sources.count(n), -n))
        found.append(Feed(comer.fed_by, comer.number))
        room -= 1
    return found
