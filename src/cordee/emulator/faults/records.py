"""The faults of a machine as its shared memory keeps them: one record each, and what they count."""

import ctypes
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from cordee.core.errors import UsageError
from cordee.emulator import machine
from cordee.emulator.faults.fault import TRIGGERS, Fault, as_row, from_row
from cordee.emulator.faults.memory import Memory

AT_MOST = machine.FAULTS - 1  # the last place is the head's
STATES = ("", "waiting", "active", "over")
FREE, WAITING, ACTIVE, OVER = range(4)
NS = 1_000_000_000


class RecordMemory(ctypes.Structure):
    """One fault. Times are of the monotonic clock, 0 where there is none."""

    _fields_ = (
        ("state", ctypes.c_uint32),
        ("length", ctypes.c_uint32),  # of the text, which is the fault as JSON
        ("due_ns", ctypes.c_uint64),
        ("struck_ns", ctypes.c_uint64),
        ("over_ns", ctypes.c_uint64),
        ("struck_step", ctypes.c_uint64),
        ("at_step", ctypes.c_uint64),
        ("for_ns", ctypes.c_uint64),
        ("text", ctypes.c_ubyte * 200),
    )


class HeadMemory(ctypes.Structure):
    """What is known of all faults together."""

    _fields_ = (
        ("began_ns", ctypes.c_uint64),  # when the machine started
        ("for_steps", ctypes.c_uint32),  # how many wait for a step of an optimizer
        ("for_time", ctypes.c_uint32),  # how many wait for anything else, or for their end
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A fault that a machine was given, and how far it has come."""

    number: int
    """By which it is repaired."""
    began_ns: int
    """When the machine started, of the monotonic clock, like the times that follow."""
    fault: Fault
    """What it is."""
    state: str
    """"waiting", "active" or "over"."""
    due_ns: int = 0
    """When it strikes."""
    struck_ns: int = 0
    """When it struck."""
    struck_step: int | None = None
    """After how many steps of the chip's process."""
    over_ns: int = 0
    """When it was repaired."""

    def seconds(self, time_ns: int) -> float | None:
        """Since the machine started; None for no time."""
        return round((time_ns - self.began_ns) / NS, 3) if time_ns else None

    @property
    def ends_ns(self) -> int | None:
        """When it ends by itself."""
        if self.state != "active" or self.fault.for_s is None:
            return None
        return self.struck_ns + round(self.fault.for_s * NS)


class Records:
    """The records in one machine's memory. Callers hold its lock."""

    def __init__(self, memory: Memory) -> None:
        self.memory = memory
        self.head = HeadMemory.from_address(memory.record_address(AT_MOST))

    def __iter__(self) -> Iterator[Entry]:
        for number in range(1, AT_MOST + 1):
            record = self._at(number)
            if record.state != FREE:
                yield _entry(number, record, self.head.began_ns)

    def add(self, fault: Fault, now_ns: int) -> int:
        """Write down a fault that waits; gives its number."""
        if self.head.began_ns == 0:
            self.head.began_ns = now_ns
        text = _as_text(fault)
        number = self._free()
        record = self._at(number)
        ctypes.memset(ctypes.addressof(record), 0, ctypes.sizeof(record))
        record.due_ns = now_ns + round((fault.after_s or 0) * NS)
        record.at_step = fault.at_step or 0
        record.for_ns = round((fault.for_s or 0) * NS)
        record.length = len(text)
        ctypes.memmove(record.text, text, len(text))
        record.state = WAITING
        self._count()
        return number

    def put(self, entry: Entry) -> None:
        """Write down how far a fault has come."""
        record = self._at(entry.number)
        record.struck_ns = entry.struck_ns
        record.struck_step = entry.struck_step or 0
        record.over_ns = entry.over_ns
        record.state = STATES.index(entry.state)
        self._count()

    def _free(self) -> int:
        by_age = sorted(
            (record.state == OVER, record.over_ns, number)
            for number, record in ((n, self._at(n)) for n in range(1, AT_MOST + 1))
            if record.state in (FREE, OVER)
        )
        if not by_age:
            raise UsageError(f"{AT_MOST} faults wait or last: a machine has room for no more")
        return by_age[0][2]

    def _count(self) -> None:
        waiting = [entry.fault for entry in self if entry.state == "waiting"]
        for_steps = sum(fault.at_step is not None for fault in waiting)
        lasting = [entry for entry in self if entry.state == "active"]
        self.head.for_steps = for_steps
        self.head.for_time = (
            len(waiting)
            - for_steps
            + sum(
                entry.fault.for_s is not None or entry.fault.kind == "memory" for entry in lasting
            )
        )

    def _at(self, number: int) -> RecordMemory:
        return RecordMemory.from_address(self.memory.record_address(number - 1))


def _as_text(fault: Fault) -> bytes:
    row = {key: value for key, value in as_row(fault).items() if key not in TRIGGERS}
    return json.dumps(row, separators=(",", ":"), ensure_ascii=False).encode()


def _entry(number: int, record: RecordMemory, began_ns: int) -> Entry:
    row = json.loads(bytes(record.text[: record.length]))
    for_s = {"for_s": record.for_ns / NS} if record.for_ns else {}
    at_step = {"at_step": record.at_step} if record.at_step else {}
    return Entry(
        number=number,
        began_ns=began_ns,
        fault=from_row({**row, **for_s, **at_step}),
        state=STATES[record.state],
        due_ns=record.due_ns,
        struck_ns=record.struck_ns,
        struck_step=record.struck_step if record.struck_ns else None,
        over_ns=record.over_ns,
    )


def as_json(entry: Entry) -> dict[str, Any]:
    """The entry for a machine to read."""
    return {
        "number": entry.number,
        **as_row(entry.fault),
        "state": entry.state,
        "due_s": None if entry.fault.at_step else entry.seconds(entry.due_ns),
        "struck_s": entry.seconds(entry.struck_ns),
        "struck_step": entry.struck_step,
        "over_s": entry.seconds(entry.over_ns),
    }
