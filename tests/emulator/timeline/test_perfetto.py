"""The trace for ui.perfetto.dev holds to the Trace Event Format."""

import json
from array import array
from pathlib import Path

import pytest
from tests.emulator.timeline.journals import ZERO_S, call, late, operation, process

from cordee.core.errors import UsageError
from cordee.emulator.machine import LinkState
from cordee.emulator.sampling import Carried
from cordee.emulator.timeline import perfetto, timeline
from cordee.emulator.trace.records import Process

NEEDED = {
    "X": {"name", "ts", "dur", "pid", "tid"},
    "M": {"name", "pid", "args"},
    "C": {"name", "ts", "pid", "args"},
    "s": {"name", "cat", "id", "ts", "pid", "tid"},
    "f": {"name", "cat", "id", "ts", "pid", "tid", "bp"},
}


def link(carried: int) -> LinkState:
    figures = {"bytes_per_s": 0.0, "latency_s": 0.0}
    return LinkState(
        number=0,
        name="HCCS 0-1",
        start="chip 0",
        end="chip 1",
        bytes=carried,
        transfers=1,
        errors=0,
        **figures,
    )


def events(processes: list[Process], carried: Carried | None = None) -> list[perfetto.Event]:
    found = timeline(processes)
    assert found is not None
    return list(perfetto.events(found, carried or Carried()))


def of(found: list[perfetto.Event], **values: object) -> list[perfetto.Event]:
    return [event for event in found if values.items() <= event.items()]


def test_each_kind_of_event_has_what_the_format_asks_of_it(tmp_path: Path) -> None:
    processes = late(rank=2, delay_s=0.03)
    samples = [(ZERO_S + t, array("Q", [n])) for t, n in ((0.0, 0), (0.02, 4000), (0.04, 4000))]
    target = tmp_path / "run.json"
    count = perfetto.write(timeline(processes), Carried((link(4000),), samples), target)

    written = json.loads(target.read_text())
    assert set(written) == {"displayTimeUnit", "traceEvents"}
    assert len(written["traceEvents"]) == count
    assert {event["ph"] for event in written["traceEvents"]} == set(NEEDED)
    for event in written["traceEvents"]:
        assert NEEDED[event["ph"]] <= set(event)
        assert event.get("ts", 0) >= 0
        assert event.get("dur", 0) >= 0


def test_a_lane_is_a_process_with_the_rank_and_its_chip() -> None:
    names = of(events(late(rank=2, delay_s=0.03)), name="process_name")
    assert [event["args"] for event in names] == [
        {"name": f"rank {rank} (chip {rank})"} for rank in range(3)
    ]


def test_a_wait_lies_inside_its_collective_and_names_who_was_late() -> None:
    found = events(late(rank=2, delay_s=0.03))
    (collective,) = of(found, pid=1, name="HcclAllReduce", ph="X")
    (wait,) = of(found, pid=1, name="waiting for rank 2")
    assert (collective["ts"], collective["dur"]) == (0, 32000)
    assert (wait["ts"], wait["dur"], wait["tid"]) == (0, 30000, collective["tid"])


def test_arrows_lead_from_the_last_rank_to_those_that_waited() -> None:
    found = events(late(rank=2, delay_s=0.03))
    starts, ends = of(found, ph="s"), of(found, ph="f")
    assert [event["pid"] for event in starts] == [3, 3]
    assert [event["pid"] for event in ends] == [1, 2]
    assert [event["id"] for event in starts] == [event["id"] for event in ends]


def test_what_overlaps_on_one_stream_is_put_on_threads_beside_each_other() -> None:
    calls = [call(1, 0.0, 1.0), call(2, 0.5, 1.0), call(3, 1.2, 0.1)]
    found = of(events([process(0, calls=calls)]), ph="X")
    threads: dict[object, float] = {}
    for event in found:
        begin, took = event["ts"], event["dur"]
        assert isinstance(begin, float)
        assert isinstance(took, float)
        assert begin >= threads.get(event["tid"], 0.0)
        threads[event["tid"]] = begin + took
    assert len(threads) == 2


def test_an_operation_that_never_had_its_turn_is_left_out() -> None:
    never = operation(0, None, None, 2, code=107003)
    found = events([process(0, [never, operation(0, 1, 1, 2, number=2)])])
    assert len(of(found, ph="X", cat="collective")) == 1


def test_a_link_counts_bytes_per_second_between_samples() -> None:
    samples = [(ZERO_S + t, array("Q", [n])) for t, n in ((-1.0, 0), (0.0, 0), (0.01, 20000))]
    found = events(late(rank=2, delay_s=0.03), Carried((link(20000),), samples))
    counters = of(found, ph="C", name="HCCS 0-1")
    assert [(event["ts"], event["args"]) for event in counters] == [(0, {"MB/s": 2.0})]


def test_a_run_without_a_chip_is_a_trace_without_events(tmp_path: Path) -> None:
    target = tmp_path / "run.json"
    assert perfetto.write(None, Carried(), target) == 0
    assert json.loads(target.read_text())["traceEvents"] == []


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=str(tmp_path)):
        perfetto.write(None, Carried(), tmp_path)
