"""What links carry, whether they are up, and how long a transfer takes on them."""

import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from calls import Acl

from cordee.core.errors import UsageError
from cordee.emulator import machine
from cordee.emulator.machine import LinkState, Machine
from cordee.hw import chip, topology
from cordee.hw.topology import Topology

S = 10**9
GB = 10**9
RATE = 28 * GB  # of a link of HCCS
LONG_MS = 3600 * 1000

# Offsets in a link; test_machine.py holds the layout against the runtime's.
DOWN, SLOW, LOSS, FLAP, SINCE = 48, 52, 56, 60, 72

PASS = """
import ctypes
links = Acl(os.environ["CORDEE_TEST_LIBRARIES"]).library
links.cordee_link_pass.restype = ctypes.c_uint64
say("loaded")
for line in sys.stdin:
    start, end, size, took = map(int, line.split())
    if size < 0:
        say(links.cordee_link_is_up(start, end))
    else:
        say(links.cordee_link_pass(start, end, ctypes.c_uint64(size), ctypes.c_uint64(took)))
"""


class Process:
    """A process of the machine that asks the runtime for us."""

    def __init__(self, start, made: Machine) -> None:
        self.child = start(PASS, CORDEE_MACHINE=made.path)
        assert self.child.stdout.readline() == "loaded\n"

    def wait_ns(self, start: int, end: int, size: int, took_ns: int = 0) -> int:
        """What is left to wait after a transfer."""
        self.child.stdin.write(f"{start} {end} {size} {took_ns}\n")
        self.child.stdin.flush()
        return int(self.child.stdout.readline())

    def is_up(self, start: int, end: int) -> bool:
        return self.wait_ns(start, end, -1) == 1


@contextmanager
def made_of(chips: int = 4, *, nodes: int = 1, pace: float = 0.0, **more) -> Iterator[Machine]:
    with machine.create(chip("Ascend910B3"), chips, nodes=nodes, pace=pace, **more) as made:
        yield made


def link(made: Machine, name: str) -> LinkState:
    return next(link for link in machine.read(made.path).links if link.name == name)


def write(made: Machine, name: str, at: int, form: str, *values: int) -> None:
    where = machine.LINKS_AT + link(made, name).number * machine.LINK.size + at
    with open(made.path, "r+b") as state:
        state.seek(where)
        state.write(struct.pack(f"<{form}", *values))


def flap(made: Machine, name: str, up_ms: int, down_ms: int, *, since_ns: int) -> None:
    write(made, name, FLAP, "II", up_ms, down_ms)
    write(made, name, SINCE, "Q", since_ns)


def test_a_machine_of_its_own_has_no_links_and_nothing_waits(acl: Acl) -> None:
    assert acl.library.cordee_link_is_up(0, 1) == 1
    assert acl.library.cordee_link_pass(0, 1, 1000, 1000) == 0
    assert acl.library.cordee_link_pass(-1, 10**6, 1000, 1000) == 0


def test_every_link_of_the_path_counts_what_it_carried(start) -> None:
    with made_of(4, nodes=2) as made:
        process = Process(start, made)
        assert process.wait_ns(0, 3, 1000, 500) == 0
        assert process.wait_ns(0, 2, 24, 500) == 0
        counted = {
            link.name: (link.bytes, link.transfers)
            for link in machine.read(made.path).links
            if link.transfers
        }
    assert counted == {
        "RoCE 0-network": (1024, 2),
        "RoCE network-2": (24, 1),
        "RoCE network-3": (1000, 1),
    }


def test_a_big_transfer_is_bound_by_the_rate(start) -> None:
    with made_of(pace=100) as made:
        wait_ns = Process(start, made).wait_ns(0, 1, RATE)
    assert wait_ns == pytest.approx(100 * S, rel=0.01)


def test_a_small_transfer_is_bound_by_the_latency(start) -> None:
    with made_of(pace=10**7) as made:
        wait_ns = Process(start, made).wait_ns(0, 1, 0)
    assert wait_ns == pytest.approx(5 * S, rel=0.01)  # 0.5 us, ten million times


def test_latencies_of_a_path_add_up_and_its_slowest_link_sets_the_rate(start) -> None:
    pod = topology("atlas-900-a3-superpod")
    with machine.create(chip("910C"), 8, nodes=2, topology=pod, pace=10**7) as made:
        process = Process(start, made)
        assert process.wait_ns(0, 4, 0) == pytest.approx(55 * S, rel=0.01)
        assert process.wait_ns(0, 4, 196_000) == pytest.approx(65 * S, rel=0.01)


def test_what_the_host_took_is_not_waited_for_again(start) -> None:
    with made_of(pace=100) as made:
        process = Process(start, made)
        assert process.wait_ns(0, 1, RATE, 60 * S) == pytest.approx(40 * S, rel=0.01)
        assert process.wait_ns(2, 3, RATE, 200 * S) == 0


def test_transfers_on_one_link_wait_for_each_other_and_on_two_do_not(start) -> None:
    with made_of(pace=1000) as made:
        one, other = Process(start, made), Process(start, made)
        assert one.wait_ns(0, 1, RATE) == pytest.approx(1000 * S, rel=0.01)
        assert other.wait_ns(0, 1, RATE) == pytest.approx(2000 * S, rel=0.01)
        assert other.wait_ns(1, 0, RATE) == pytest.approx(1000 * S, rel=0.01)
        assert one.wait_ns(0, 2, RATE) == pytest.approx(1000 * S, rel=0.01)


def test_a_port_of_a_switch_is_shared_by_all_that_come_to_it(start) -> None:
    pod = topology("atlas-900-a3-superpod")
    with machine.create(chip("910C"), 8, topology=pod, pace=1000) as made:
        process = Process(start, made)
        waits = [process.wait_ns(chip, 7, 196 * GB) / (1000 * S) for chip in (0, 2, 4)]
    assert waits == pytest.approx([1, 2, 3], rel=0.01)


def test_many_processes_at_once_lose_no_transfer(start) -> None:
    with made_of(pace=1) as made:
        processes = [Process(start, made) for _ in range(3)]
        for process in processes:
            process.child.stdin.write("0 1 28000000000 0\n" * 300)
            process.child.stdin.flush()
        last = max(int(p.child.stdout.readline()) for p in processes for _ in range(300))
        assert link(made, "HCCS 0-1").transfers == 900
    assert last == pytest.approx(900 * S, rel=0.01)


def test_a_slow_link_takes_its_percents_with_pace_and_without(start) -> None:
    with made_of(pace=1000) as paced, made_of() as free:
        for made in (paced, free):
            write(made, "HCCS 0-1", SLOW, "I", 300)
        process = Process(start, free)
        assert process.wait_ns(0, 1, 4096, 5 * S) == 10 * S
        assert process.wait_ns(1, 0, 4096, 5 * S) == 0
        assert Process(start, paced).wait_ns(0, 1, RATE) == pytest.approx(3000 * S, rel=0.01)


def test_packets_are_lost_at_the_same_places_each_time(start) -> None:
    with made_of() as made:
        write(made, "HCCS 0-1", LOSS, "I", 250_000)
        process = Process(start, made)
        errors = []
        for _ in range(9):
            process.wait_ns(0, 1, 4096)
            errors.append(link(made, "HCCS 0-1").errors)
        assert errors == [0, 0, 0, 1, 1, 1, 1, 2, 2]
        assert process.wait_ns(0, 1, 40 * 4096, S) == S // 4


def test_a_lost_packet_is_sent_again_after_a_round_trip(start) -> None:
    with made_of(pace=10**6) as made:
        write(made, "HCCS 0-1", LOSS, "I", 10_000)
        wait_ns = Process(start, made).wait_ns(0, 1, 1000 * 4096)
        assert link(made, "HCCS 0-1").errors == 10
    sent_s = 1010 * 4096 / RATE
    assert wait_ns == pytest.approx(10**6 * (sent_s + (1 + 2 * 10) * 0.5e-6) * S, rel=0.01)


def test_nothing_passes_a_link_that_is_down(start) -> None:
    with made_of(4, nodes=2) as made:
        process = Process(start, made)
        assert process.is_up(0, 2)
        write(made, "RoCE network-2", DOWN, "I", 1)
        assert [process.is_up(0, 2), process.is_up(2, 0), process.is_up(0, 3)] == [0, 1, 1]
        write(made, "RoCE network-2", DOWN, "I", 0)
        assert process.is_up(0, 2)


def test_a_link_that_flaps_is_up_and_down_by_the_clock(start) -> None:
    now_ns = time.monotonic_ns()
    turn_ms = min(LONG_MS, now_ns // 10**6 // 4)  # the clock begins where the computer does
    turn_ns = turn_ms * 10**6
    with made_of() as made:
        process = Process(start, made)
        found = []
        for turns_ago in (-1, 0, 1, 2, 3):
            since_ns = now_ns - turns_ago * turn_ns - turn_ns // 2 * (turns_ago >= 0)
            flap(made, "HCCS 0-1", turn_ms, turn_ms, since_ns=since_ns)
            found.append(process.is_up(0, 1))
        assert found == [True, True, False, True, False]
        flap(made, "HCCS 0-1", 0, turn_ms, since_ns=0)
        assert not process.is_up(0, 1)


def test_links_say_what_is_wrong_with_them() -> None:
    with made_of() as made:
        write(made, "HCCS 0-1", DOWN, "III", 1, 250, 10)
        flap(made, "HCCS 0-1", 20, 30, since_ns=0)
        found = link(made, "HCCS 0-1")
    assert (found.start, found.end, found.bytes_per_s) == ("chip 0", "chip 1", RATE)
    assert (found.down, found.slow_percent, found.loss_per_million) == (True, 250, 10)
    assert (found.flap_up_ms, found.flap_down_ms) == (20, 30)


def test_chips_that_no_table_links_are_all_linked_without_figures(start) -> None:
    with machine.create(chip("Ascend310P3"), 4) as made:
        assert Process(start, made).wait_ns(0, 3, RATE) == 0
        state = machine.read(made.path)
    assert (state.topology, len(state.links)) == ("unnamed", 12)
    assert {link.bytes_per_s for link in state.links} == {0.0}
    assert [link.bytes for link in state.links if link.name == "link 0-3"] == [RATE]


def test_more_chips_than_their_usual_node_has_are_linked_without_figures() -> None:
    with made_of(16) as made:
        assert machine.read(made.path).topology == "unnamed"
    with made_of(16, nodes=2) as made:
        state = machine.read(made.path)
    assert (state.topology, state.nodes) == ("atlas-800t-a2", 2)
    assert [chip.node for chip in state.chips] == [0] * 8 + [1] * 8


def test_a_topology_of_other_chips_is_refused() -> None:
    pod: Topology = topology("atlas-900-a3-superpod")
    with pytest.raises(UsageError, match="built with Ascend910_9392"):
        machine.create(chip("910B3"), 2, topology=pod)


def test_a_pace_needs_figures() -> None:
    with pytest.raises(UsageError, match="--topology"):
        machine.create(chip("310P3"), 2, pace=2)
    with pytest.raises(UsageError, match="--pace -1"):
        machine.create(chip("910B3"), 2, pace=-1)
