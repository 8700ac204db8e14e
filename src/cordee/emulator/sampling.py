"""Reads now and then, while a program runs, what the links of its machine have carried."""

import threading
import time
from array import array
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from cordee.core.errors import CordeeError
from cordee.emulator import machine
from cordee.emulator.machine import LinkState

EVERY_S = 0.1
SHARE = 0.02  # of one core's time, at most
KEPT = 2000  # samples; of a longer run every second is dropped, again and again


@dataclass(slots=True)
class Carried:
    """What the links of a machine carried during a run."""

    links: tuple[LinkState, ...] = ()
    """As they were at the end."""
    samples: list[tuple[float, "array[int]"]] = field(default_factory=list)
    """Moments of CLOCK_MONOTONIC, and the bytes that each link had carried by then."""


@contextmanager
def sampled(path: str) -> Iterator[Carried]:
    """What the links of the machine at `path` carry until the context ends."""
    carried = Carried()
    ended = threading.Event()

    def go_on() -> None:
        pause_s = EVERY_S
        while not ended.wait(pause_s):
            took_s = _sample(path, carried)
            pause_s = max(pause_s, took_s / SHARE)
            if len(carried.samples) > KEPT:
                del carried.samples[1::2]
                pause_s *= 2

    _sample(path, carried)
    thread = threading.Thread(target=go_on, name="links")
    thread.start()
    try:
        yield carried
    finally:
        ended.set()
        thread.join()
        _sample(path, carried)


def _sample(path: str, carried: Carried) -> float:
    """Adds a sample; gives how long that took."""
    began_s = time.monotonic()
    with suppress(CordeeError):  # a machine that another command made may end before we do
        carried.links = machine.read(path).links
    carried.samples.append((began_s, array("Q", [link.bytes for link in carried.links])))
    return time.monotonic() - began_s
