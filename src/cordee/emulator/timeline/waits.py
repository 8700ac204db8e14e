"""Who waited for whom: worked out from when each rank began each operation of HCCL.

A collective begins when its last rank comes, so the wait of all the others is charged to that rank. A
send and a receive begin when both sides have; the wait of the earlier is charged to the later.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from cordee.emulator.timeline.spans import Span
from cordee.emulator.trace.records import Operation, Process

# A rank that has waited longer than this was not the last to come.
SHORT_S = 1e-3


@dataclass(frozen=True, slots=True)
class Wait:
    """A rank was ready for an operation and waited for others."""

    sufferer: str
    """Who waited."""
    causes: tuple[str, ...]
    """For whom: one, or several where nothing is known of several; each caused an equal part."""
    span: Span
    """When."""
    operation: Operation
    """In what."""

    @property
    def caused_s(self) -> float:
        """Seconds that are charged to each cause."""
        return self.span.length_s / len(self.causes)


@dataclass(frozen=True, slots=True)
class Part:
    """One rank's part in an operation that several have."""

    label: str
    """Who."""
    operation: Operation
    """What it wrote of it."""


def meetings(processes: Iterable[tuple[str, Process]]) -> list[tuple[Part, ...]]:
    """The collectives of a run, each with the parts of its ranks, in the order of their ends."""
    found: dict[tuple[str, int], list[Part]] = defaultdict(list)
    for label, process in processes:
        for operation in process.operations:
            if operation.number:
                found[operation.identity, operation.number].append(Part(label, operation))
    together = [tuple(sorted(parts, key=lambda p: p.operation.rank)) for parts in found.values()]
    return sorted(together, key=lambda parts: max(part.operation.ended_s for part in parts))


def waits(processes: Sequence[tuple[str, Process]]) -> list[Wait]:
    """Every wait of a run, given its processes with what to call them."""
    labels = {
        (operation.identity, operation.rank): label
        for label, process in processes
        for operation in process.operations
    }
    found = [wait for parts in meetings(processes) for wait in _for_the_last(parts, labels)]
    return [*found, *_for_peers(processes, labels)]


def _for_the_last(parts: Sequence[Part], labels: dict[tuple[str, int], str]) -> Iterator[Wait]:
    begun = [(part.operation.begun_s, part) for part in parts if part.operation.begun_s is not None]
    if not begun:
        return
    _, last = max(begun, key=lambda pair: pair[0])
    group = last.operation
    absent = set(range(group.ranks)) - {part.operation.rank for _, part in begun}
    for begun_s, part in begun:
        operation = part.operation
        span = Span(begun_s, operation.met_s or operation.ended_s)
        if absent and _has_waited(last.operation):
            causes = tuple(_name(group, rank, labels) for rank in sorted(absent))
        elif part is not last:
            causes = (last.label,)
        else:
            continue
        if span.length_s > 0:
            yield Wait(part.label, causes, span, operation)


def _has_waited(operation: Operation) -> bool:
    assert operation.begun_s is not None
    return (operation.met_s or operation.ended_s) - operation.begun_s > SHORT_S


def _name(of: Operation, rank: int, labels: dict[tuple[str, int], str]) -> str:
    """What to call a rank of a communicator, also where its process has written nothing."""
    return labels.get((of.identity, rank), f"rank {rank} of {of.group}")


def _for_peers(
    processes: Sequence[tuple[str, Process]], labels: dict[tuple[str, int], str]
) -> Iterator[Wait]:
    ends = _ends([process for _, process in processes])
    others: dict[int, list[Operation]] = defaultdict(list)
    for (identity, sender, receiver, sends), found in ends.items():
        opposite = ends.get((identity, sender, receiver, not sends), [])
        for operation, other in zip(found, opposite, strict=False):
            others[id(operation)].append(other)
    for label, process in processes:
        for operation in process.operations:
            if operation.messages and operation.begun_s is not None:
                yield from _for_the_latest(label, operation, others[id(operation)], labels)


def _ends(processes: Sequence[Process]) -> dict[tuple[str, int, int, bool], list[Operation]]:
    """The sides of all messages, by communicator, sender, receiver and side, in their order."""
    ends: dict[tuple[str, int, int, bool], list[Operation]] = defaultdict(list)
    for process in processes:
        for operation in process.operations:
            for message in operation.messages:
                me, peer = operation.rank, message.peer
                pair = (me, peer) if message.sends else (peer, me)
                ends[operation.identity, *pair, message.sends].append(operation)
    return ends


def _for_the_latest(
    label: str,
    operation: Operation,
    others: Sequence[Operation],
    labels: dict[tuple[str, int], str],
) -> Iterator[Wait]:
    begun_s = operation.begun_s
    assert begun_s is not None
    peers = {message.peer for message in operation.messages} - {operation.rank}
    absent = peers - {other.rank for other in others if other.begun_s is not None}
    if absent and (operation.code or operation.is_open):
        causes = tuple(_name(operation, rank, labels) for rank in sorted(absent))
        yield Wait(label, causes, Span(begun_s, operation.ended_s), operation)
        return
    latest = max(others, key=lambda other: other.begun_s or 0.0, default=None)
    if latest is None or latest.begun_s is None or latest.begun_s <= begun_s:
        return
    span = Span(begun_s, min(latest.begun_s, operation.ended_s))
    yield Wait(label, (_name(operation, latest.rank, labels),), span, operation)
