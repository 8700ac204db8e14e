"""What the page says of several ranks: who waited for whom, collectives, and links."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from cordee.emulator.machine import LinkState
from cordee.emulator.timeline import Lane, Timeline, Wait
from cordee.emulator.trace.records import Operation
from cordee.emulator.traffic import MATRIX_CHIPS, faults

LINKS_LISTED = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class RankRow:
    """One rank: how it spent the run, and what waiting it caused."""

    label: str
    chips: str  # as the machine numbers them
    computing: float  # share of the run, 0 to 1
    moving: float
    suffered_s: float  # how long it waited for others
    suffered: float  # as a share of the run
    caused_s: float  # how long others waited for it, all of them together
    last: int  # operations for which others waited for it
    longest: Wait | None  # of those that it caused


@dataclass(frozen=True, slots=True, kw_only=True)
class OperationRow:
    """All calls of one function of HCCL over one communicator."""

    what: str
    group: str
    ranks: int
    calls: int  # those of the rank that has most
    size_bytes: float  # of one rank in one call, on average
    moving_s: float  # all ranks together
    waiting_s: float
    failed: int  # those that were cut off included


@dataclass(frozen=True, slots=True)
class LinkRow:
    """One direction of a link that carried something, or has a fault."""

    link: LinkState
    share: float  # of what the busiest link carried
    faults: str


@dataclass(frozen=True, slots=True)
class Ranks:
    """The section of the page."""

    timeline: Timeline
    rows: tuple[RankRow, ...]  # who caused most first
    waiting_s: float  # of all ranks together
    operations: tuple[OperationRow, ...]  # what took longest first
    links: tuple[LinkRow, ...]
    more_links: int
    matrix: tuple[
        tuple[LinkRow | None, ...], ...
    ]  # from chip to chip; empty where that says little


def describe(timeline: Timeline, links: Sequence[LinkState]) -> Ranks | None:
    """What there is to say; None where there is one rank, and it reached no other."""
    operations = [o for lane in timeline.lanes for o in lane.process.operations]
    if len(timeline.lanes) < 2 and not any(o.ranks > 1 for o in operations):
        return None
    listed = [*_links(links)]
    matrix = _matrix(listed)
    shown = [row for row in listed if not matrix or row.faults or row.link.chips is None]
    shown.sort(key=lambda row: (not row.faults, -row.link.bytes))
    rows = sorted(_rows(timeline), key=lambda row: -row.caused_s)
    return Ranks(
        timeline=timeline,
        rows=tuple(rows),
        waiting_s=sum(wait.span.length_s for wait in timeline.waits),
        operations=tuple(sorted(_operations(timeline), key=lambda r: -r.moving_s - r.waiting_s)),
        links=tuple(shown[:LINKS_LISTED]),
        more_links=max(0, len(shown) - LINKS_LISTED),
        matrix=matrix,
    )


def _rows(timeline: Timeline) -> Iterator[RankRow]:
    caused: dict[str, list[Wait]] = defaultdict(list)
    suffered_s: dict[str, float] = defaultdict(float)
    for wait in timeline.waits:
        suffered_s[wait.sufferer] += wait.span.length_s
        for cause in wait.causes:
            caused[cause].append(wait)
    lanes: dict[str, Lane | None] = {lane.label: lane for lane in timeline.lanes}
    # A rank that was killed before it wrote anything has no lane, and can have caused much.
    for label, lane in (lanes | {cause: None for cause in caused if cause not in lanes}).items():
        waits = caused[label]
        yield RankRow(
            label=label,
            chips=", ".join(map(str, lane.chips)) if lane else "",
            computing=_share(lane.computing, timeline) if lane else 0.0,
            moving=_share(lane.moving, timeline) if lane else 0.0,
            suffered_s=suffered_s[label],
            suffered=_part(suffered_s[label], timeline),
            caused_s=sum(wait.caused_s for wait in waits),
            last=len({_key(wait.operation) for wait in waits}),
            longest=max(waits, key=lambda wait: wait.span.length_s, default=None),
        )


def _key(operation: Operation) -> tuple[str, int, int]:
    """The same on all ranks of a collective; messages have no number that they share."""
    return operation.identity, operation.number, 0 if operation.number else id(operation)


def _share(spans: Iterable[tuple[float, float]], timeline: Timeline) -> float:
    return _part(sum(end_s - begin_s for begin_s, end_s in spans), timeline)


def _part(duration_s: float, timeline: Timeline) -> float:
    return duration_s / timeline.whole.length_s if timeline.whole.length_s else 0.0


def _operations(timeline: Timeline) -> Iterator[OperationRow]:
    waited_s = {id(wait.operation): wait.span.length_s for wait in timeline.waits}
    groups: dict[tuple[str, str, str], list[list[Operation]]] = defaultdict(list)
    for lane in timeline.lanes:
        of_lane: dict[tuple[str, str, str], list[Operation]] = defaultdict(list)
        for operation in lane.process.operations:
            of_lane[operation.what, operation.group, operation.identity].append(operation)
        for key, found in of_lane.items():
            groups[key].append(found)
    for (what, group, _), parts in groups.items():
        together = [operation for part in parts for operation in part]
        spent_s = sum(o.ended_s - o.begun_s for o in together if o.begun_s is not None)
        waiting_s = sum(waited_s.get(id(operation), 0.0) for operation in together)
        yield OperationRow(
            what=what,
            group=group,
            ranks=together[0].ranks,
            calls=max(map(len, parts)),
            size_bytes=sum(operation.size_bytes for operation in together) / len(together),
            moving_s=max(0.0, spent_s - waiting_s),
            waiting_s=waiting_s,
            failed=sum(operation.code != 0 or operation.is_open for operation in together),
        )


def _links(links: Sequence[LinkState]) -> Iterator[LinkRow]:
    most = max((link.bytes for link in links), default=0)
    for link in links:
        wrong = ", ".join(faults(link))
        if link.bytes or wrong:
            yield LinkRow(link, link.bytes / most if most else 0.0, wrong)


def _matrix(rows: Iterable[LinkRow]) -> tuple[tuple[LinkRow | None, ...], ...]:
    found = {ends: row for row in rows if (ends := row.link.chips) and row.link.bytes}
    count = max((max(ends) for ends in found), default=-1) + 1
    if not 2 < count <= MATRIX_CHIPS or len(found) <= count:
        return ()
    return tuple(tuple(found.get((i, j)) for j in range(count)) for i in range(count))
