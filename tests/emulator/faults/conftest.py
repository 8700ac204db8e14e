"""A machine to strike: its memory in this process, and nobody who runs on it."""

import ctypes
from collections.abc import Iterator

import pytest

from cordee import hw
from cordee.emulator import machine
from cordee.emulator.faults.memory import Memory


@pytest.fixture(scope="session", autouse=True)
def chip() -> None:
    """These tests need no chip in their own process."""


@pytest.fixture
def memory() -> Iterator[Memory]:
    """Four chips in two nodes, and no links."""
    with machine.create(hw.chip("Ascend910B3"), 4) as made, Memory.open(made.path) as memory:
        for number in range(4):
            memory.chip(number).node = number // 2
            for other in range(4):
                lay(memory, number, other, [])
        yield memory


@pytest.fixture
def linked(memory: Memory) -> Memory:
    """The same, with link 10 * a + b from chip a to chip b; between nodes over an uplink, 100 + a."""
    for a in range(4):
        for b in range(4):
            if a != b:
                lay(memory, a, b, [10 * a + b] if a // 2 == b // 2 else [100 + a, 100 + b])
    return memory


def lay(memory: Memory, chip: int, other: int, links: list[int]) -> None:
    """Write down the links from one chip to another."""
    row = machine.PATHS_AT + (chip * machine.CHIPS_AT_MOST + other) * machine.PATH.size
    hops = [link + 1 for link in links] + [0] * (machine.HOPS - len(links))
    packed = machine.PATH.pack(*hops)
    ctypes.memmove(memory.record_address(0) - machine.FAULTS_AT + row, packed, len(packed))
