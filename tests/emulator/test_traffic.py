"""What `cordee chips` shows of links."""

import dataclasses
import io

import pytest
from rich.console import Console, Group

from cordee import hw
from cordee.emulator import machine
from cordee.emulator.chips import tables, topologies
from cordee.emulator.machine import State
from cordee.emulator.traffic import faults, links, rates, size


def text(*shown, width: int = 120) -> str:
    console = Console(file=io.StringIO(), width=width)
    console.print(Group(*shown))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def state(chips: int = 8, **more) -> State:
    kind = more.pop("chip", "910B3")
    with machine.create(hw.chip(kind), chips, **more) as made:
        return machine.read(made.path)


def with_link(state: State, name: str, **changes) -> State:
    changed = [
        dataclasses.replace(link, **changes) if link.name == name else link for link in state.links
    ]
    assert changed != list(state.links)
    return dataclasses.replace(state, links=tuple(changed))


def test_a_mesh_without_traffic_takes_one_line() -> None:
    assert text(*links(state())) == "56 links, atlas-800t-a2; nothing carried yet\n"


def test_traffic_of_a_mesh_is_a_matrix() -> None:
    shown = text(*links(with_link(state(), "HCCS 2-5", bytes=1_500_000, transfers=3)))
    assert "carried from chip (row) to chip (column), MB" in shown
    row = next(line for line in shown.splitlines() if line.split()[:1] == ["2"])
    assert row.split() == ["2", *["0"] * 4, "1.5", *["0"] * 2]
    assert "transfers" not in shown


def test_a_little_is_told_from_nothing_in_the_matrix() -> None:
    used = with_link(state(), "HCCS 2-5", bytes=1_500_000)
    shown = text(*links(with_link(used, "HCCS 2-4", bytes=196)))
    row = next(line for line in shown.splitlines() if line.split()[:1] == ["2"])
    assert row.split() == ["2", *["0"] * 3, "~0", "1.5", *["0"] * 2]


def test_sixteen_chips_that_talk_fit_a_narrow_terminal() -> None:
    node = with_link(state(16, nodes=2), "HCCS 0-1", down=True)
    busy = tuple(dataclasses.replace(link, bytes=985_000_000) for link in node.links)
    before = dataclasses.replace(node, path="")
    for lately in (None, rates(dataclasses.replace(node, links=busy), before, 1.0)):
        shown = text(*links(dataclasses.replace(node, links=busy), lately), width=80)
        rows = [line.split() for line in shown.splitlines() if line.split()[:1] == ["15"]]
        assert rows == [["15", *["985"] * 7]]
        assert "…" not in shown
        assert shown.index("down") < shown.index("(column)") < shown.index("RoCE 0-network")


def test_a_link_with_a_fault_is_listed_and_marked_in_the_matrix() -> None:
    shown = text(*links(with_link(state(), "HCCS 2-5", bytes=1000, down=True, slow_percent=200)))
    assert "1.0!" in shown
    row = next(line for line in shown.splitlines() if "HCCS 2-5" in line)
    assert "down, takes 200 % of its time" in row


def test_ports_of_a_switch_are_listed_once_they_carry_something() -> None:
    pod = with_link(state(chip="910C"), "UB 3-switch", bytes=196, transfers=1)
    shown = text(*links(pod))
    assert "UB 3-switch" in shown
    assert "196 GB/s" in shown
    assert "UB 4-switch" not in shown


def test_a_list_is_cut_where_it_gets_long_and_says_so() -> None:
    pod = state(chip="910C", chips=32, nodes=2)
    busy = tuple(dataclasses.replace(link, bytes=1) for link in pod.links)
    assert "and 80 more" in text(*links(dataclasses.replace(pod, links=busy)))


def test_rates_are_those_of_the_last_interval() -> None:
    before = with_link(state(), "HCCS 0-1", bytes=1000)
    now = with_link(before, "HCCS 0-1", bytes=5000)
    lately = rates(now, before, 2.0)
    assert lately
    assert lately[0] == 2000
    shown = text(tables([now], {now.path: before}, 2.0))
    assert "now from chip (row) to chip (column), kB/s" in shown
    assert "2.0" in shown
    assert rates(now, state(2), 2.0) is None


def test_nodes_and_pace_are_shown_where_there_are_some() -> None:
    shown = text(tables([state(nodes=2, pace=100)]))
    assert "node" in shown
    assert "a second of theirs takes 100 s" in shown
    assert "node" not in text(tables([state()]))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, []),
        ({"loss_per_million": 5}, ["loses 5 packets in a million"]),
        ({"flap_up_ms": 20, "flap_down_ms": 30}, ["flaps, 20 ms up and 30 ms down"]),
        ({"errors": 1}, ["has lost packets"]),
    ],
)
def test_what_is_wrong_is_said_in_words(changes, words) -> None:
    assert faults(dataclasses.replace(state(2).links[0], **changes)) == words


@pytest.mark.parametrize(
    ("count", "words"),
    [(0, "0"), (999, "999 B"), (1000, "1.0 kB"), (99_960, "100 kB"), (28e9, "28.0 GB")],
)
def test_sizes_have_three_digits_at_most(count, words) -> None:
    assert size(count) == words


def test_the_catalogue_of_topologies_shows_every_link() -> None:
    shown = text(topologies(hw.topologies()))
    assert "HCCS (mesh): 28 GB/s, 0.5 µs" in shown
    assert "atlas-900-a3-superpod" in shown
