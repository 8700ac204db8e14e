"""Writes a run as a trace for ui.perfetto.dev: one process a lane, one thread a stream.

Follows: the Trace Event Format,
docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU. Times are in microseconds.
"""

import itertools
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TypeVar

from cordee.core.errors import UsageError
from cordee.emulator.sampling import Carried
from cordee.emulator.timeline.lanes import Lane, Timeline, computed
from cordee.emulator.timeline.spans import Span
from cordee.emulator.timeline.waits import Wait, meetings
from cordee.emulator.trace.records import Call, Operation, Support

Event = dict[str, object]
Thing = TypeVar("Thing")
Placed = list[tuple[int, tuple[Span, Thing]]]
"""With the number of a thread."""

COMPUTING, COMMUNICATING = 1, 1_000_001  # first numbers of threads; streams count up from them
BESIDE = 1000  # added for the second thread of a stream, where two things overlap


def write(timeline: Timeline | None, carried: Carried, target: Path) -> int:
    """Write the trace of a run to `target`; gives how many events it has.

    Raises `UsageError` where `target` cannot be written.
    """
    count = 0
    try:
        with target.open("w", encoding="utf-8") as file:
            file.write('{"displayTimeUnit": "ms", "traceEvents": [')
            for count, event in enumerate(events(timeline, carried) if timeline else (), start=1):
                file.write(f"{',' if count > 1 else ''}\n{json.dumps(event)}")
            file.write("\n]}\n")
    except OSError as error:
        raise UsageError(f"{target}: {error.strerror}") from error
    return count


def events(timeline: Timeline, carried: Carried) -> Iterator[Event]:
    """Everything in the trace of a run."""
    clock = _Clock(timeline.whole.begin_s)
    waited = {id(wait.operation): wait for wait in timeline.waits}
    places: dict[int, tuple[int, int]] = {}  # process and thread by operation
    for number, lane in enumerate(timeline.lanes, start=1):
        yield from _named(number, lane)
        yield from _computing(number, lane, clock)
        yield from _communicating(number, lane, clock, waited, places)
    yield from _flows(timeline, clock, places)
    yield from _links(len(timeline.lanes) + 1, carried, timeline.whole, clock)


class _Clock:
    def __init__(self, zero_s: float) -> None:
        self._zero_s = zero_s

    def __call__(self, moment_s: float) -> float:
        """Microseconds since the run began, to the nanosecond."""
        return round((moment_s - self._zero_s) * 1e6, 3)

    def slice(self, span: Span) -> Event:
        """Where and how long a complete event is."""
        begin, end = self(span.begin_s), self(span.end_s)
        return {"ph": "X", "ts": begin, "dur": round(end - begin, 3)}


def _named(number: int, lane: Lane) -> Iterator[Event]:
    chips = f" (chip {', '.join(map(str, lane.chips))})" if lane.chips else ""
    for name, value in (
        ("process_name", {"name": lane.label + chips}),
        ("process_sort_index", {"sort_index": number}),
    ):
        yield {"name": name, "ph": "M", "pid": number, "args": value}


def _named_threads(number: int, placed: Placed[Thing], name: str) -> Iterator[Event]:
    for thread in sorted({thread for thread, _ in placed}):
        place: Event = {"ph": "M", "pid": number, "tid": thread}
        yield {"name": "thread_name", **place, "args": {"name": name}}
        yield {"name": "thread_sort_index", **place, "args": {"sort_index": thread}}


def _computing(number: int, lane: Lane, clock: _Clock) -> Iterator[Event]:
    by_stream: dict[tuple[int, int], list[tuple[Span, Call]]] = defaultdict(list)
    for call, span in computed(lane.process):
        by_stream[call.device, call.stream].append((span, call))
    for i, ((device, stream), found) in enumerate(sorted(by_stream.items())):
        name = f"operators, stream {stream}" + (f" of npu:{device}" if device else "")
        placed = _placed(found, COMPUTING + i)
        yield from _named_threads(number, placed, name)
        for thread, (span, call) in placed:
            yield {
                "name": call.signature.operator,
                "cat": "operator",
                "pid": number,
                "tid": thread,
                **clock.slice(span),
                "args": _about(call),
            }


def _about(call: Call) -> Event:
    about: Event = {"call": call.number, "phase": call.place.phase, "site": call.place.site}
    about["shapes"] = ", ".join(f"{t.dtype}{[*t.shape]}" for t in call.signature.inputs)
    if call.place.module:
        about["module"] = call.place.module
    if call.signature.support is not Support.NATIVE:
        about["support"] = call.signature.support
    if call.failed is not None:
        about["failed"] = call.failed
    return about


def _communicating(
    number: int,
    lane: Lane,
    clock: _Clock,
    waited: Mapping[int, Wait],
    places: dict[int, tuple[int, int]],
) -> Iterator[Event]:
    by_stream: dict[int, list[tuple[Span, Operation]]] = defaultdict(list)
    for operation in lane.process.operations:
        if operation.begun_s is not None:
            span = Span(operation.begun_s, operation.ended_s)
            by_stream[operation.stream].append((span, operation))
    for i, (stream, found) in enumerate(sorted(by_stream.items())):
        placed = _placed(found, COMMUNICATING + i)
        yield from _named_threads(number, placed, f"collectives, stream {stream}")
        for thread, (span, operation) in placed:
            place: Event = {"pid": number, "tid": thread}
            places[id(operation)] = (number, thread)
            about = {"name": operation.what, "cat": "collective", "args": _of(operation)}
            yield {**about, **place, **clock.slice(span)}
            if wait := waited.get(id(operation)):
                name = f"waiting for {', '.join(wait.causes)}"
                yield {"name": name, "cat": "wait", **place, **clock.slice(wait.span)}


def _of(operation: Operation) -> Event:
    assert operation.begun_s is not None
    about: Event = {
        "group": operation.group,
        "collective": f"{operation.identity}/{operation.number}",
        "rank": f"{operation.rank} of {operation.ranks}",
        "bytes": operation.size_bytes,
        "queued_us": round((operation.begun_s - operation.issued_s) * 1e6, 3),
    }
    for message in operation.messages:
        about[f"{'to' if message.sends else 'from'} {message.peer}"] = message.size_bytes
    if operation.code:
        about["failed"] = operation.code
    if operation.is_open:
        about["cut off"] = True
    return about


def _placed(found: Iterable[tuple[Span, Thing]], first: int) -> Placed[Thing]:
    """Each on a thread where nothing overlaps it: the format wants what shares one nested."""
    free_s: list[float] = []
    placed = []
    for span, thing in sorted(found, key=lambda pair: pair[0]):
        row = next((row for row, end_s in enumerate(free_s) if end_s <= span.begin_s), len(free_s))
        free_s[row : row + 1] = [span.end_s]
        placed.append((first + row * BESIDE, (span, thing)))
    return placed


def _flows(
    timeline: Timeline, clock: _Clock, places: Mapping[int, tuple[int, int]]
) -> Iterator[Event]:
    """Arrows from the rank that came last to each that waited for it."""
    identities = itertools.count(1)
    for parts in meetings([(lane.label, lane.process) for lane in timeline.lanes]):
        begun = [part.operation for part in parts if part.operation.begun_s is not None]
        if len(begun) < 2:
            continue
        last = max(begun, key=lambda operation: operation.begun_s or 0.0)
        for operation in begun:
            if operation is last:
                continue
            name: Event = {"name": operation.what, "cat": "collective", "id": next(identities)}
            middle_s = ((operation.met_s or operation.ended_s) + operation.ended_s) / 2
            yield {**name, "ph": "s", **_at(clock(last.begun_s or 0.0), places[id(last)])}
            yield {**name, "ph": "f", "bp": "e", **_at(clock(middle_s), places[id(operation)])}


def _at(moment: float, place: tuple[int, int]) -> Event:
    return {"ts": moment, "pid": place[0], "tid": place[1]}


def _links(number: int, carried: Carried, whole: Span, clock: _Clock) -> Iterator[Event]:
    """How fast each link carried bytes between two samples, of those that carried any."""
    used = [link for link in carried.links if link.bytes]
    if not used:
        return
    yield {"name": "process_name", "ph": "M", "pid": number, "args": {"name": "links"}}
    shown: dict[int, float] = {}
    for (before_s, before), (now_s, now) in itertools.pairwise(carried.samples):
        for link in used if now_s > whole.begin_s else ():
            rate = (now[link.number] - before[link.number]) / (now_s - before_s) / 1e6
            if shown.get(link.number) == rate:
                continue  # a counter keeps its value
            shown[link.number] = rate
            moment = clock(max(before_s, whole.begin_s))
            event: Event = {"name": link.name, "ph": "C", "pid": number, "ts": moment}
            yield {**event, "args": {"MB/s": round(rate, 3)}}
