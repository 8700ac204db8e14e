"""Strikes a machine with faults and repairs them, through its shared memory."""

import os
import signal
import time
from collections.abc import Iterable, Sequence
from dataclasses import fields, replace

from cordee.core.errors import UsageError
from cordee.emulator.faults import effects
from cordee.emulator.faults.fault import LARGEST, BadMemory, Fault, HostLost, LinkFault, Partition
from cordee.emulator.faults.memory import Memory
from cordee.emulator.faults.records import Entry, Records

# Of runtime/machine.h: the process whose memory it is chooses which allocation is bad.
ANY_ALLOCATION = 1 << 63
LARGEST_ALLOCATION = (1 << 64) - 1


def begin(memory: Memory) -> None:
    """Note that the machine starts now."""
    with memory.locked():
        Records(memory).head.began_ns = time.monotonic_ns()


def check(memory: Memory, fault: Fault) -> None:
    """Raise `UsageError` where the machine has no place for the fault, or cannot tell its time."""
    nodes = memory.nodes()
    chips = [*effects.chips_of(fault, nodes), *getattr(fault, "between", ())]
    for chip in chips:
        if chip >= len(nodes):
            raise UsageError(f"{fault.kind}: no chip {chip}: the machine has {len(nodes)}")
    for node in (
        *getattr(fault, "nodes", ()),
        *([fault.node] if isinstance(fault, HostLost) else ()),
    ):
        if node not in nodes:
            raise UsageError(f"{fault.kind}: no node {node}: the machine has {len(set(nodes))}")
    links = effects.links_of(fault, nodes, memory.path)
    if isinstance(fault, LinkFault | Partition) and not links:
        raise UsageError(
            f"{fault.kind}: no links join {fault.place}; `cordee run --topology` makes a machine with links"
        )
    if not memory.is_watched and (fault.after_s is not None or fault.for_s is not None):
        raise UsageError(
            f"{fault.kind}: only under `cordee run` is there somebody to keep the time"
        )


def give(memory: Memory, faults: Iterable[Fault]) -> list[Entry]:
    """Give the machine faults, and strike with those whose time has come."""
    given = list(faults)
    for fault in given:
        check(memory, fault)
    with memory.locked():
        records = Records(memory)
        now_ns = time.monotonic_ns()
        numbers = [records.add(fault, now_ns) for fault in given]
        tick(memory)
        return [entry for entry in Records(memory) if entry.number in numbers]


def entries(memory: Memory) -> list[Entry]:
    """Every fault that the machine was given, as far as it has come."""
    with memory.locked():
        _settle(memory)
        return list(Records(memory))


def tick(memory: Memory) -> None:
    """Strike with what is due by time, and end what is."""
    with memory.locked():
        now_ns = time.monotonic_ns()
        _settle(memory)
        for entry in Records(memory):
            if _is_due(memory, entry, now_ns):
                _strike(memory, entry)
            elif entry.ends_ns is not None and entry.ends_ns <= now_ns:
                _end(memory, entry)


def step(memory: Memory, chip: int, steps: int) -> None:
    """Strike with what is due after so many steps on `chip`."""
    with memory.locked():
        nodes = memory.nodes()
        for entry in Records(memory):
            at = entry.fault.at_step
            if entry.state != "waiting" or at is None or steps < at:
                continue
            if effects.step_chip(entry.fault, nodes) == chip:
                _strike(memory, entry)


def repair(memory: Memory, numbers: Sequence[int] | None = None) -> list[Entry]:
    """Repair faults, or take back such as still wait; all where no number is given."""
    with memory.locked():
        _settle(memory)
        open_ = {entry.number: entry for entry in Records(memory) if entry.state != "over"}
        for number in numbers or ():
            if number not in open_:
                raise UsageError(
                    f"no fault {number} waits or lasts; `cordee fault list` shows them"
                )
        chosen = list(open_) if numbers is None else list(numbers)
        for number in chosen:
            _end(memory, open_[number])
        return [entry for entry in Records(memory) if entry.number in chosen]


def _is_due(memory: Memory, entry: Entry, now_ns: int) -> bool:
    if entry.state != "waiting" or entry.fault.at_step is not None or entry.due_ns > now_ns:
        return False
    # Memory that nobody holds cannot be bad for anybody.
    return not isinstance(entry.fault, BadMemory) or bool(memory.users(entry.fault.chip))


def _strike(memory: Memory, entry: Entry) -> None:
    nodes = memory.nodes()
    steps = memory.chip(effects.step_chip(entry.fault, nodes)).step
    Records(memory).put(
        replace(entry, state="active", struck_ns=time.monotonic_ns(), struck_step=steps)
    )
    fault = entry.fault
    if isinstance(fault, BadMemory):
        _choose(memory, fault)
    _apply(memory, fault, nodes, begins=True)
    if isinstance(fault, HostLost):
        _kill(memory, effects.chips_of(fault, nodes))


def _choose(memory: Memory, fault: BadMemory) -> None:
    chip = memory.chip(fault.chip)
    largest = fault.allocation == LARGEST
    chip.fault_address = LARGEST_ALLOCATION if largest else ANY_ALLOCATION | int(fault.allocation)
    chip.fault_bytes = 1  # how many there are, the process knows


def _end(memory: Memory, entry: Entry) -> None:
    Records(memory).put(replace(entry, state="over", over_ns=time.monotonic_ns()))
    if entry.state == "active":
        if isinstance(entry.fault, BadMemory):
            memory.chip(entry.fault.chip).fault_bytes = 0
        _apply(memory, entry.fault, memory.nodes(), begins=False)


def _apply(memory: Memory, fault: Fault, nodes: Sequence[int], *, begins: bool) -> None:
    """Make the chips and links of a fault what all faults that last make of them."""
    lasting = [entry.fault for entry in Records(memory) if entry.state == "active"]
    for number in effects.chips_of(fault, nodes):
        there = [other for other in lasting if number in effects.chips_of(other, nodes)]
        chip_effect = effects.chip_effect(there)
        chip = memory.chip(number)
        chip.flip_operator = chip_effect.flip_operator  # before the bit that makes it count
        for field in fields(chip_effect):
            setattr(chip, field.name, getattr(chip_effect, field.name))
    for number in effects.links_of(fault, nodes, memory.path):
        there = [
            other for other in lasting if number in effects.links_of(other, nodes, memory.path)
        ]
        link_effect = effects.link_effect(there)
        link = memory.link(number)
        if begins and link_effect.flap_down_ms:
            link.flap_since_ns = time.monotonic_ns()
        for field in fields(link_effect):
            setattr(link, field.name, getattr(link_effect, field.name))


def _kill(memory: Memory, chips: Sequence[int]) -> None:
    pids = {pid for chip in chips for pid in memory.users(chip)}
    for pid in sorted(pids, key=lambda pid: pid == os.getpid()):  # oneself last
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


def _settle(memory: Memory) -> None:
    """Close faults of memory that the program has repaired, or whose process has ended."""
    for entry in Records(memory):
        fault = entry.fault
        if not isinstance(fault, BadMemory) or entry.state != "active":
            continue
        if memory.chip(fault.chip).fault_bytes == 0 or not memory.users(fault.chip):
            _end(memory, entry)
