"""What a fault writes into the memory of a machine, when, and what repairing it leaves there."""

import ctypes
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.waiting import until

from cordee import hw
from cordee.core.errors import CordeeError, UsageError
from cordee.emulator import faults, machine
from cordee.emulator.faults import (
    BadMemory,
    ChipLost,
    Hang,
    HostLost,
    LinkDown,
    LinkFlapping,
    LinkLossy,
    LinkSlow,
    Partition,
    Slow,
    WrongResult,
    striking,
)
from cordee.emulator.faults import memory as layout
from cordee.emulator.faults.memory import Memory
from cordee.emulator.faults.records import AT_MOST, Entry
from cordee.emulator.faults.watch import watching
from cordee.emulator.faults.words import health

LOST, ECC, UCE = 507010, 507054, 507053


def uses(memory: Memory, chip: int, pid: int = 0) -> None:
    """Have a process, or this one, hold memory of a chip."""
    at = memory.record_address(0) - machine.FAULTS_AT + machine.SLOTS_AT
    slot = layout.SlotMemory.from_address(at + chip * machine.SLOT.size)
    slot.used_bytes[chip] = 1
    slot.pid = pid or os.getpid()


def states(memory: Memory) -> list[str]:
    return [entry.state for entry in striking.entries(memory)]


def struck(memory: Memory, *given: faults.Fault) -> list[Entry]:
    return striking.give(memory, given)


def test_python_and_c_agree_on_the_layout() -> None:
    assert ctypes.sizeof(layout.ChipMemory) == machine.CHIP.size
    assert ctypes.sizeof(layout.LinkMemory) == machine.LINK.size
    assert ctypes.sizeof(layout.SlotMemory) == machine.SLOT.size
    assert layout.ChipMemory.health.offset == machine.HEALTH_AT
    assert layout.ChipMemory.hung.offset == 48
    assert layout.ChipMemory.flip_operator.offset == 72
    assert layout.LinkMemory.down.offset == 48
    assert layout.LinkMemory.bytes.offset == 80


def test_a_lost_chip_answers_with_its_code_until_it_is_repaired(memory: Memory) -> None:
    (entry,) = struck(memory, ChipLost(chip=2))
    assert [memory.chip(number).health for number in range(4)] == [0, 0, LOST, 0]
    assert entry.state == "active"
    striking.repair(memory, [entry.number])
    assert memory.chip(2).health == 0
    assert states(memory) == ["over"]


def test_a_fault_waits_for_its_chips_step(memory: Memory) -> None:
    struck(memory, Hang(chip=1, at_step=3))
    for chip, steps in ((0, 3), (1, 2)):
        striking.step(memory, chip, steps)
        assert memory.chip(1).hung == 0
    memory.chip(1).step = 3
    striking.step(memory, 1, 3)
    assert memory.chip(1).hung == 1
    assert striking.entries(memory)[0].struck_step == 3


def test_a_fault_that_waits_can_be_taken_back(memory: Memory) -> None:
    struck(memory, Hang(chip=1, at_step=3))
    striking.repair(memory)
    striking.step(memory, 1, 5)
    assert memory.chip(1).hung == 0


def test_faults_of_one_chip_add_up_and_are_repaired_one_by_one(memory: Memory) -> None:
    struck(
        memory,
        Slow(chip=0, factor=3),
        Hang(chip=0),
        WrongResult(chip=0, operator="aten::mm", bit=30),
        ChipLost(chip=0),
    )
    chip = memory.chip(0)
    assert (chip.health, chip.hung, chip.slow_percent, chip.flip) == (LOST, 1, 300, 31)
    assert chip.flip_operator == b"aten::mm"
    striking.repair(memory, [4, 2])
    assert (chip.health, chip.hung, chip.slow_percent, chip.flip) == (0, 0, 300, 31)
    striking.repair(memory)
    assert (chip.slow_percent, chip.flip, chip.flip_operator) == (0, 0, b"")


@pytest.mark.parametrize(("report", "code"), [("ecc", ECC), ("uce", UCE)])
def test_memory_goes_bad_once_a_process_holds_some(report: str, code: int, memory: Memory) -> None:
    struck(memory, BadMemory(chip=1, allocation=2, report=report))  # type: ignore[arg-type]
    assert states(memory) == ["waiting"]
    uses(memory, 1)
    striking.tick(memory)
    chip = memory.chip(1)
    assert (chip.health, chip.fault_address) == (code, striking.ANY_ALLOCATION | 2)
    assert chip.fault_bytes > 0


def test_bad_memory_is_over_when_the_program_has_repaired_it(memory: Memory) -> None:
    uses(memory, 1)
    struck(memory, BadMemory(chip=1))
    memory.chip(1).fault_bytes = 0  # what the runtime does
    assert states(memory) == ["over"]
    assert memory.chip(1).health == 0


def test_bad_memory_ends_with_the_process_that_held_it(memory: Memory) -> None:
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    uses(memory, 1, process.pid)
    struck(memory, BadMemory(chip=1))
    process.communicate()
    assert states(memory) == ["over"]
    assert memory.chip(1).health == 0


def test_a_lost_host_takes_its_chips_and_their_processes(memory: Memory) -> None:
    started = [subprocess.Popen(["sleep", "60"]) for _ in range(2)]
    for chip, process in zip((0, 3), started, strict=True):
        uses(memory, chip, process.pid)
    struck(memory, HostLost(node=1))
    assert started[1].wait() == -9
    assert started[0].poll() is None
    started[0].kill()
    started[0].wait()
    assert [memory.chip(number).health for number in range(4)] == [0, 0, LOST, LOST]


def test_a_link_fault_reaches_every_link_of_both_directions(linked: Memory) -> None:
    struck(
        linked,
        LinkDown(between=(0, 1)),
        LinkSlow(between=(0, 2), factor=4),
        LinkLossy(between=(2, 3), fraction=0.01),
        LinkFlapping(between=(2, 3), up_s=1, down_s=0.5),
    )
    assert [number for number in range(110) if linked.link(number).down] == [1, 10]
    assert [n for n in range(110) if linked.link(n).slow_percent == 400] == [100, 102]
    link = linked.link(23)
    assert (link.loss_per_million, link.flap_up_ms, link.flap_down_ms) == (10_000, 1000, 500)
    assert 0 < link.flap_since_ns <= time.monotonic_ns()
    striking.repair(linked, [3])
    assert (link.loss_per_million, link.flap_up_ms) == (0, 1000)


def test_a_partition_cuts_what_joins_the_nodes_and_nothing_within(linked: Memory) -> None:
    struck(linked, Partition(nodes=(1, 0)))
    assert [number for number in range(110) if linked.link(number).down] == [100, 101, 102, 103]


def test_the_links_of_a_known_topology_fail_by_their_names() -> None:
    with machine.create(hw.chip("Ascend910B3"), 16, nodes=2) as made:
        faults.strike(made.path, LinkDown(between=(0, 3)), LinkSlow(between=(1, 9), factor=2))
        links = machine.read(made.path).links
        assert sorted(link.name for link in links if link.down) == ["HCCS 0-3", "HCCS 3-0"]
        ends = [{link.start, link.end} for link in links if link.slow_percent == 200]
        assert sum("chip 1" in end for end in ends) == sum("chip 9" in end for end in ends) == 2
        faults.strike(made.path, Partition(nodes=(0, 1)))
        down = {link.name.split()[0] for link in machine.read(made.path).links if link.down}
        assert down == {"HCCS", "RoCE"}
        faults.repair(made.path)
        assert not any(link.down for link in machine.read(made.path).links)


@pytest.mark.parametrize("fault", [LinkDown(between=(0, 1)), Partition(nodes=(0, 1))])
def test_without_links_no_link_can_fail(fault: faults.Fault, memory: Memory) -> None:
    with pytest.raises(UsageError, match="no links join"):
        struck(memory, fault)


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (ChipLost(chip=4), "no chip 4: the machine has 4"),
        (LinkDown(between=(0, 9)), "no chip 9"),
        (HostLost(node=2), "no node 2: the machine has 2"),
        (Partition(nodes=(0, 7)), "no node 7"),
    ],
)
def test_a_place_must_be_there(fault: faults.Fault, said: str, linked: Memory) -> None:
    with pytest.raises(UsageError, match=said):
        struck(linked, fault)


def test_the_watcher_strikes_and_repairs_when_the_time_has_come(memory: Memory) -> None:
    schedule = [Hang(chip=0, after_s=0.05, for_s=0.05), Slow(chip=1, factor=2)]
    with watching(memory, schedule):
        assert memory.chip(1).slow_percent == 200
        until(lambda: states(memory) == ["over", "active"])
    entry = striking.entries(memory)[0]
    assert entry.struck_ns - entry.began_ns >= 50_000_000
    assert entry.over_ns - entry.struck_ns >= 50_000_000
    assert memory.chip(0).hung == 0


def test_only_so_many_faults_can_wait_and_old_ones_make_room(memory: Memory) -> None:
    struck(memory, *[Hang(chip=0, at_step=9)] * AT_MOST)
    with pytest.raises(UsageError, match="room for no more"):
        struck(memory, Hang(chip=0))
    striking.repair(memory, [5])
    assert [entry.number for entry in struck(memory, Hang(chip=0))] == [5]


def test_an_unknown_number_cannot_be_repaired(memory: Memory) -> None:
    with pytest.raises(UsageError, match="no fault 1"):
        striking.repair(memory, [1])


def test_a_machine_is_struck_by_its_path_from_another_process() -> None:
    with machine.create(hw.chip("Ascend910B3"), 1) as made:
        program = (
            "import sys; from cordee.emulator import faults\n"
            "faults.strike(sys.argv[1], faults.Slow(chip=0, factor=3), faults.ChipLost(chip=0))"
        )
        subprocess.run([sys.executable, "-c", program, made.path], check=True)
        (chip,) = machine.read(made.path).chips
        assert health(chip) == "lost (507010), slow x3"
        assert [entry.state for entry in faults.entries(made.path)] == ["active", "active"]
        open_files = len(os.listdir("/proc/self/fd"))
        faults.repair(made.path)
        assert len(os.listdir("/proc/self/fd")) == open_files
        assert health(machine.read(made.path).chips[0]) == "OK"


def test_a_path_without_a_machine_is_told(tmp_path: Path) -> None:
    with pytest.raises(CordeeError, match="no virtual machine there"):
        faults.strike(str(tmp_path / "none"), ChipLost(chip=0))
