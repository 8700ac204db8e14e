"""Faults: what can go wrong with a machine, when, and the way it is struck and repaired."""

from collections.abc import Sequence

from cordee.emulator.faults import striking
from cordee.emulator.faults.fault import (
    KINDS,
    BadMemory,
    ChipLost,
    Fault,
    Hang,
    HostLost,
    LinkDown,
    LinkFlapping,
    LinkLossy,
    LinkSlow,
    Partition,
    Slow,
    WrongResult,
)
from cordee.emulator.faults.memory import Memory
from cordee.emulator.faults.records import Entry

__all__ = [
    "KINDS",
    "BadMemory",
    "ChipLost",
    "Entry",
    "Fault",
    "Hang",
    "HostLost",
    "LinkDown",
    "LinkFlapping",
    "LinkLossy",
    "LinkSlow",
    "Partition",
    "Slow",
    "WrongResult",
    "entries",
    "repair",
    "strike",
]


def strike(machine: str | None, *faults: Fault) -> list[Entry]:
    """Give faults to the machine at a path, or to that of this process. Raises `UsageError`."""
    with _memory(machine) as memory:
        return striking.give(memory, faults)


def entries(machine: str | None) -> list[Entry]:
    """Every fault that the machine was given, and how far it has come."""
    with _memory(machine) as memory:
        return striking.entries(memory)


def repair(machine: str | None, numbers: Sequence[int] | None = None) -> list[Entry]:
    """Repair faults by number, or all. Raises `UsageError`."""
    with _memory(machine) as memory:
        return striking.repair(memory, numbers)


def _memory(machine: str | None) -> Memory:
    return Memory.of_process() if machine is None else Memory.open(machine)
