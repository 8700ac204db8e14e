"""Models that several workers hold together: which members are one replica, and which wait for others.

A worker has one part of the model for good, its *place*. Members with the same place have the same part, so each can
give it to another, and their gradients are added up. A *team* is one member of each place: it computes shards. Who is
left over computes nothing, but has a part in every sum, so that it is up to date when its team is whole again.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence

from cordee.train.policy.workers import Report

Team = tuple[int, ...]
"""Members, in the order of their places."""


def teams(places: Mapping[int, int], size: int, before: Iterable[Team] = ()) -> tuple[Team, ...]:
    """Teams of members, whose places are given. Those that were one before stay together."""
    kept = [team for team in before if all(number in places for number in team)]
    taken = {number for team in kept for number in team}
    columns = [
        sorted(n for n, place in places.items() if place == wanted and n not in taken)
        for wanted in range(size)
    ]
    return tuple(sorted([*kept, *zip(*columns, strict=False)]))


def vacant(taken: Sequence[int], size: int, workers: int) -> int | None:
    """The place that one more worker is to have, where `taken` are those of the others; None: there is enough."""
    counts = [taken.count(place) for place in range(size)]
    least = min(range(size), key=lambda place: (counts[place], place))
    return least if counts[least] < workers // size else None


def held_by(
    found: Iterable[Team], held: Mapping[int, Sequence[int]]
) -> tuple[dict[int, Sequence[int]], tuple[int, ...]]:
    """The shards that teams have computed, by their first member; and members that are to forget what they hold.

    A shard counts where the whole team has it: its members compute together.
    """
    whole: dict[int, Sequence[int]] = {}
    for team in found:
        parts = [tuple(held.get(number, ())) for number in team]
        if all(part == parts[0] for part in parts):
            whole[team[0]] = parts[0]
            continue
    used: Collection[int] = {n for team in found if team[0] in whole for n in team}
    return whole, tuple(sorted(n for n, shards in held.items() if shards and n not in used))


def common(columns: Iterable[Sequence[Report]]) -> int | None:
    """The newest step whose state there is of every part of the model; None: there is none."""
    found = list(columns)
    top = max((report.step for column in found for report in column), default=-1)
    steps = [
        {step for report in column for step in report.steps if step <= top} for column in found
    ]
    return max(set.intersection(*steps), default=None) if steps else None
