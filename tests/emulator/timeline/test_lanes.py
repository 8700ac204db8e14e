"""What a lane shows, and when."""

from dataclasses import replace

import pytest
from tests.emulator.timeline.journals import ZERO_S, call, late, operation, process

from cordee.emulator.timeline import Lane, Span, timeline
from cordee.emulator.timeline.spans import union
from cordee.emulator.trace.records import Phase, Process, Support


def lanes(processes: list[Process]) -> tuple[Lane, ...]:
    found = timeline(processes)
    assert found is not None
    return found.lanes


def lengths(spans: tuple[Span, ...]) -> list[float]:
    return [pytest.approx(span.length_s) for span in spans]


def test_a_collective_is_a_wait_until_the_last_has_come_and_then_moves_bytes() -> None:
    early, _, tardy = lanes(late(rank=2, delay_s=0.03))
    assert lengths(early.waiting) == [0.03]
    assert lengths(early.moving) == [0.002]
    assert not tardy.waiting
    assert lengths(tardy.moving) == [0.002]


def test_bytes_that_move_on_another_stream_hide_a_wait() -> None:
    waits = operation(0, 1, 3, 3, ranks=2)
    moves = operation(0, 1.5, 1.5, 2, number=2, ranks=2, stream=8)
    other = process(
        1, [operation(1, 3, 3, 3, ranks=2), operation(1, 1.5, 1.5, 2, number=2, ranks=2)]
    )
    lane, _ = lanes([process(0, [waits, moves]), other])
    assert lane.waiting == (Span(1, 1.5), Span(2, 3))
    assert union(lane.moving) == (Span(1.5, 2),)


def test_operators_that_overlap_are_one_stretch_without_their_waits() -> None:
    calls = [
        call(1, 0.0, 1.0, waited_s=0.6),
        call(2, 0.8, 0.5, stream=3),
        call(3, 0.9, 0.1, within=2),
        call(4, 2.0, 1.0, support=Support.COLLECTIVE),
    ]
    (lane,) = lanes([process(0, calls=calls)])
    assert [span.begin_s for span in lane.computing] == [pytest.approx(ZERO_S + 0.6)]
    assert lengths(lane.computing) == [0.7]


def test_a_process_without_a_chip_has_no_lane() -> None:
    (lane,) = lanes([process(None), process(0, calls=[call(1, 0, 1)])])
    assert lane.label == "rank 0"
    assert timeline([process(None)]) is None


def test_a_rank_that_was_started_again_is_told_apart() -> None:
    first = process(0, calls=[call(1, 0, 1)])
    again = replace(first, header=replace(first.header, process=4001))
    labels = [lane.label for lane in lanes([first, again])]
    assert labels == ["rank 0, process 4000", "rank 0, process 4001"]


def test_the_middle_holds_whole_steps_of_the_optimizer() -> None:
    calls = []
    for step in range(9):
        calls.append(call(2 * step + 1, step, 0.5))
        calls.append(call(2 * step + 2, step + 0.5, 0.25, phase=Phase.OPTIMIZER))
    found = timeline([process(0, calls=calls)])
    assert found is not None
    assert found.middle == pytest.approx(Span(ZERO_S + 2.75, ZERO_S + 5.75))


def test_without_an_optimizer_the_middle_holds_collectives() -> None:
    parts = [operation(0, n, n, n + 0.5, number=n, ranks=1) for n in range(1, 101)]
    found = timeline([process(0, parts)])
    assert found is not None
    assert found.middle == Span(43, 58)
    short = timeline([process(0, parts[:20])])
    assert short is not None
    assert short.middle is None
