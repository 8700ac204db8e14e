"""What each rank did when: computing, moving bytes between chips, waiting for other ranks."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from cordee.emulator.timeline.spans import Span, union, without
from cordee.emulator.timeline.waits import Wait, waits
from cordee.emulator.trace.records import Call, Phase, Process, Support

STEPS_SHOWN = 3
STEPS_AT_LEAST = 6  # of fewer, the whole run shows each
OPERATIONS_SHOWN = 16  # of HCCL, where no optimizer says what a step is


@dataclass(frozen=True, slots=True)
class Lane:
    """One process that used a chip: in a run of several ranks, a rank."""

    label: str
    """What a reader calls it; no two have the same."""
    process: Process
    """What it wrote."""
    computing: tuple[Span, ...]
    """When operators ran, in order; waits for a stream are left out."""
    moving: tuple[Span, ...]
    """When operations of HCCL ran and waited for nobody."""
    waiting: tuple[Span, ...]
    """When one of them waited for other ranks, and none moved anything."""

    @property
    def chips(self) -> tuple[int, ...]:
        """The chips that it reached others from, as the machine numbers them."""
        return tuple(sorted({operation.chip for operation in self.process.operations}))


@dataclass(frozen=True, slots=True)
class Timeline:
    """A run over time. Moments are of CLOCK_MONOTONIC."""

    lanes: tuple[Lane, ...]
    """In the order of their ranks."""
    waits: tuple[Wait, ...]
    """Every wait of one rank for others."""
    whole: Span
    """From the first thing that any lane did to the last."""
    middle: Span | None
    """Some steps, or collectives, in the middle of the run; None where the whole is not much more."""


def timeline(processes: Iterable[Process]) -> Timeline | None:
    """The run of these processes over time; None where none did anything on a chip."""
    busy = list(
        _labelled([process for process in processes if process.calls or process.operations])
    )
    found = waits(busy)
    waited = {id(wait.operation): wait.span for wait in found}
    lanes = tuple(_lane(process, label, waited) for label, process in busy)
    moments = [moment for lane in lanes for moment in _moments(lane)]
    if not moments:
        return None
    whole = Span(min(moments), max(moments))
    return Timeline(
        lanes, tuple(found), whole, _middle_steps(lanes) or _middle_operations(lanes, whole)
    )


def _labelled(processes: Sequence[Process]) -> Iterator[tuple[str, Process]]:
    counts = Counter(map(name, processes))
    for process in processes:
        found = name(process)
        # A launcher that starts its ranks again has several of one name.
        yield (
            (found if counts[found] == 1 else f"{found}, process {process.header.process}"),
            process,
        )


def name(process: Process) -> str:
    """What to call a process: by its rank where it has one."""
    rank = process.header.rank
    return f"process {process.header.process}" if rank is None else f"rank {rank}"


def _middle_steps(lanes: Sequence[Lane]) -> Span | None:
    ends = max(map(_step_ends, lanes), key=len)
    if len(ends) < STEPS_AT_LEAST:
        return None
    first = (len(ends) - STEPS_SHOWN) // 2
    return Span(ends[first - 1], ends[first + STEPS_SHOWN - 1])


def _middle_operations(lanes: Sequence[Lane], whole: Span) -> Span | None:
    begun_s = [o.begun_s for o in _busiest(lanes).process.operations if o.begun_s is not None]
    if len(begun_s) < OPERATIONS_SHOWN:
        return None
    first = (len(begun_s) - OPERATIONS_SHOWN) // 2
    window = Span(begun_s[first], begun_s[first + OPERATIONS_SHOWN - 1])
    is_small = 0 < window.length_s < whole.length_s / 4
    return window if is_small else None


def _busiest(lanes: Sequence[Lane]) -> Lane:
    return max(lanes, key=lambda lane: len(lane.process.operations))


def computed(process: Process) -> Iterator[tuple[Call, Span]]:
    """Operators with the time in which they ran, those left out that another operator made."""
    for call in process.calls:
        if call.within is None and call.signature.support is not Support.COLLECTIVE:
            begin_s = process.header.zero_s + call.time_s
            yield call, Span(begin_s + min(call.waited_s, call.took_s), begin_s + call.took_s)


def _lane(process: Process, label: str, waited: Mapping[int, Span]) -> Lane:
    begun = [(o, o.begun_s) for o in process.operations if o.begun_s is not None]
    waiting = union(waited[id(o)] for o, _ in begun if id(o) in waited)
    moving = union(
        Span(waited[id(o)].end_s if id(o) in waited else begun_s, o.ended_s) for o, begun_s in begun
    )
    computing = union(span for _, span in computed(process))
    return Lane(label, process, computing, moving, without(waiting, moving))


def _moments(lane: Lane) -> Iterator[float]:
    for spans in (lane.computing, lane.moving, lane.waiting):
        if spans:
            yield spans[0].begin_s
            yield spans[-1].end_s


def _step_ends(lane: Lane) -> list[float]:
    """When each step of an optimizer ended."""
    ends: list[float] = []
    is_in_step = False
    for call, span in computed(lane.process):
        if call.place.phase is Phase.OPTIMIZER:
            ends[len(ends) - is_in_step :] = [span.end_s]
            is_in_step = True
        elif call.place.phase in (Phase.FORWARD, Phase.BACKWARD):
            is_in_step = False
    return ends
