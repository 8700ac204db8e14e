"""Keeps the time of faults while a program runs: a thread of the process that owns the machine."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from cordee.emulator.faults import striking
from cordee.emulator.faults.fault import Fault
from cordee.emulator.faults.memory import Memory
from cordee.emulator.faults.records import Records

PAUSE_S = 0.02


@contextmanager
def watching(memory: Memory, schedule: Sequence[Fault]) -> Iterator[None]:
    """Strike and repair when times have come, from now on, `schedule` first."""
    over = threading.Event()
    thread = threading.Thread(target=_watch, args=(memory, over), name="cordee-faults", daemon=True)
    striking.begin(memory)
    striking.give(memory, schedule)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _watch(memory: Memory, over: threading.Event) -> None:
    head = Records(memory).head
    while not over.wait(PAUSE_S):
        if head.for_time:
            striking.tick(memory)
