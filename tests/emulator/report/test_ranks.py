"""What the page says of several ranks."""

import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.emulator.timeline.journals import call, late, operation, process

from cordee import hw
from cordee.emulator import machine, report
from cordee.emulator.machine import LinkState
from cordee.emulator.report.lane_plot import lane_plot
from cordee.emulator.report.ranks import Ranks, describe
from cordee.emulator.timeline import timeline
from cordee.emulator.trace.records import Process


def described(processes: list[Process], links: Sequence[LinkState] = ()) -> Ranks | None:
    found = timeline(processes)
    assert found is not None
    return describe(found, links)


def of_ranks(processes: list[Process], links: Sequence[LinkState] = ()) -> Ranks:
    found = described(processes, links)
    assert found is not None
    return found


def links(chips: int, carried: int = 0) -> list[LinkState]:
    with machine.create(hw.chip("910B3"), chips) as made:
        found = machine.read(made.path).links
    return [replace(link, bytes=carried) for link in found]


def test_the_rank_that_caused_most_stands_first() -> None:
    first, *others = of_ranks(late(rank=2, delay_s=0.03)).rows
    assert (first.label, first.last, first.suffered_s) == ("rank 2", 1, 0)
    assert first.caused_s == pytest.approx(0.06)
    assert [row.suffered_s for row in others] == pytest.approx([0.03, 0.03])
    assert [row.suffered for row in others] == pytest.approx([0.03 / 0.032] * 2)


def test_a_rank_without_a_trace_is_in_the_table_if_others_waited_for_it() -> None:
    (missing, present) = of_ranks([process(0, [operation(0, 1, None, 6, ranks=2, code=5)])]).rows
    assert (missing.label, missing.caused_s) == ("rank 1 of world", 5)
    assert (present.label, present.suffered_s) == ("rank 0", 5)


def test_collectives_add_up_by_function_and_communicator() -> None:
    (row,) = of_ranks(late(rank=2, delay_s=0.03)).operations
    assert (row.what, row.calls, row.ranks, row.failed) == ("HcclAllReduce", 1, 3, 0)
    assert row.waiting_s == pytest.approx(0.06)
    assert row.moving_s == pytest.approx(0.006)
    assert row.size_bytes == 4096


def test_one_rank_has_no_section() -> None:
    assert described([process(0, calls=[call(1, 0, 1)])]) is None
    assert described([process(0, [operation(0, 1, 1, 2, ranks=1)])]) is None


def test_links_of_a_mesh_are_a_matrix_and_those_of_two_chips_a_list() -> None:
    mesh = of_ranks(late(rank=2, delay_s=0.03), links(8, carried=100))
    assert [len(line) for line in mesh.matrix] == [8] * 8
    assert mesh.matrix[3][3] is None
    assert not mesh.links
    two = of_ranks(late(rank=1, delay_s=0.03, ranks=2), links(2, carried=100))
    assert not two.matrix
    assert [row.link.name for row in two.links] == ["HCCS 0-1", "HCCS 1-0"]


def test_links_that_carried_nothing_are_left_out() -> None:
    found = of_ranks(late(rank=2, delay_s=0.03), links(8))
    assert not found.links
    assert not found.matrix


@pytest.mark.parametrize("ranks", [2, 8, 64])
def test_the_plot_does_not_grow_with_the_run(ranks: int) -> None:
    parts = [
        process(rank, [operation(rank, n, n + 0.3, n + 0.5, ranks=ranks) for n in range(1, 400)])
        for rank in range(ranks)
    ]
    found = timeline(parts)
    assert found is not None
    plot = lane_plot(found, found.whole)
    assert plot.count('class="track"') == ranks
    assert len(plot) < 400_000


def test_what_a_lane_does_is_drawn_where_it_was() -> None:
    found = timeline(late(rank=2, delay_s=0.03))
    assert found is not None
    plot = lane_plot(found, found.whole)
    assert plot.count('class="waiting"') == 2
    assert plot.count('class="moving"') == 3
    assert re.search(r">0\.000 s<.*>0\.030 s<", plot)


def test_the_page_has_the_section_and_the_line_names_who_was_waited_for(tmp_path: Path) -> None:
    processes = [replace(one, calls=(call(1, 0, 0.001),)) for one in late(rank=2, delay_s=0.03)]
    outcome = report.Outcome(
        command=["python", "train.py"], exit_code=0, began=datetime.now(UTC), duration_s=1
    )
    target = tmp_path / "run.html"
    said = report.write(processes, timeline(processes), links(8, carried=9), outcome, target)
    assert said.endswith("rank 2 was waited for most: 60.0 ms in all")
    page = target.read_text()
    assert "<h2>Ranks</h2>" in page
    assert "from 7" in page


def test_without_operators_the_ranks_are_told_all_the_same() -> None:
    (row, *_) = of_ranks(late(rank=1, delay_s=0.5, ranks=2)).rows
    assert (row.label, row.chips, row.computing) == ("rank 1", "1", 0)
