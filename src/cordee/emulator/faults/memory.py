"""The parts of a machine's shared memory that faults change, as ctypes sees them."""

import ctypes
import fcntl
import mmap
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Self

from cordee.core.errors import CordeeError
from cordee.emulator import machine

# A store to an aligned field of a structure is one store of the processor, so that the other
# processes of the machine see a value or the one before.


class ChipMemory(ctypes.Structure):
    """machine_chip of runtime/machine.h."""

    _fields_ = (
        ("memory_bytes", ctypes.c_uint64),
        ("l2_bytes", ctypes.c_uint64),
        ("cube_cores", ctypes.c_uint32),
        ("vector_cores", ctypes.c_uint32),
        ("health", ctypes.c_uint32),
        ("node", ctypes.c_uint32),
        ("fault_address", ctypes.c_uint64),
        ("fault_bytes", ctypes.c_uint64),
        ("hung", ctypes.c_uint32),
        ("slow_percent", ctypes.c_uint32),
        ("step", ctypes.c_uint64),
        ("flip", ctypes.c_uint32),
        ("reserved", ctypes.c_uint32),
        ("flip_operator", ctypes.c_char * 64),
    )


class LinkMemory(ctypes.Structure):
    """machine_link of runtime/machine.h."""

    _fields_ = (
        ("name", ctypes.c_char * 32),
        ("bytes_per_s", ctypes.c_double),
        ("latency_s", ctypes.c_double),
        ("down", ctypes.c_uint32),
        ("slow_percent", ctypes.c_uint32),
        ("loss_per_million", ctypes.c_uint32),
        ("flap_up_ms", ctypes.c_uint32),
        ("flap_down_ms", ctypes.c_uint32),
        ("reserved", ctypes.c_uint32),
        ("flap_since_ns", ctypes.c_uint64),
        ("bytes", ctypes.c_uint64),
        ("transfers", ctypes.c_uint64),
        ("errors", ctypes.c_uint64),
        ("busy_until_ns", ctypes.c_uint64),
    )


class SlotMemory(ctypes.Structure):
    """machine_slot of runtime/machine.h."""

    _fields_ = (
        ("pid", ctypes.c_int32),
        ("reserved", ctypes.c_uint32),
        ("start_ticks", ctypes.c_uint64),
        ("command", ctypes.c_char * 32),
        ("used_bytes", ctypes.c_uint64 * machine.CHIPS_AT_MOST),
    )


class HeadMemory(ctypes.Structure):
    """The beginning of machine in runtime/machine.h."""

    _fields_ = (
        ("magic", ctypes.c_uint64),
        ("version", ctypes.c_uint32),
        ("size_bytes", ctypes.c_uint32),
        ("chip_count", ctypes.c_uint32),
        ("slot_count", ctypes.c_uint32),
        ("node_count", ctypes.c_uint32),
        ("link_count", ctypes.c_uint32),
    )


class Memory:
    """The shared memory of one machine, mapped into this process."""

    _lock = threading.RLock()

    def __init__(self, address: int, mapping: mmap.mmap | None, file: int | None) -> None:
        self._address = address
        self._mapping = mapping  # keeps the memory where it is
        self._file = file
        self._is_locked = False

    @classmethod
    def open(cls, path: str) -> Self:
        """The machine that CORDEE_MACHINE names `path`. Raises `CordeeError` where there is none."""
        machine.read(path)  # explains what is wrong with it
        file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        mapping = mmap.mmap(file, machine.SIZE_BYTES)
        return cls(ctypes.addressof(ctypes.c_char.from_buffer(mapping)), mapping, file)

    @classmethod
    def of_process(cls) -> Self:
        """The machine that this process runs on. Raises `CordeeError` where it runs on none."""
        if "CORDEE_MACHINE" in os.environ:
            return cls.open(os.environ["CORDEE_MACHINE"])
        try:
            runtime = ctypes.CDLL("libascendcl.so").cordee_machine
        except (OSError, AttributeError) as error:
            raise CordeeError("this process runs on no virtual machine") from error
        runtime.restype = ctypes.c_void_p
        address = runtime()
        if not address:
            raise CordeeError("this process runs on no virtual machine")
        return cls(address, None, None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give the file back; the mapping goes when nothing refers to it."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other threads and processes that change faults out."""
        with self._lock:
            if self._file is None or self._is_locked:
                yield
                return
            # Opened anew: a forked child would hold its parent's lock.
            file = os.open(f"/proc/self/fd/{self._file}", os.O_RDWR | os.O_CLOEXEC)
            try:
                fcntl.flock(file, fcntl.LOCK_EX)
                self._is_locked = True
                yield
            finally:
                self._is_locked = False
                os.close(file)

    @property
    def is_watched(self) -> bool:
        """Whether `cordee run` stands over the machine and strikes when a time has come."""
        return self._file is not None

    @property
    def chip_count(self) -> int:
        return int(HeadMemory.from_address(self._address).chip_count)

    @property
    def node_count(self) -> int:
        return int(HeadMemory.from_address(self._address).node_count)

    def chip(self, number: int) -> ChipMemory:
        return ChipMemory.from_address(
            self._address + machine.CHIPS_AT + number * ctypes.sizeof(ChipMemory)
        )

    def nodes(self) -> tuple[int, ...]:
        """Of every chip, the node that it is in."""
        return tuple(self.chip(number).node for number in range(self.chip_count))

    def link(self, number: int) -> LinkMemory:
        return LinkMemory.from_address(
            self._address + machine.LINKS_AT + number * ctypes.sizeof(LinkMemory)
        )

    def path(self, chip: int, other: int) -> tuple[int, ...]:
        """Numbers of the links from one chip to another."""
        size = machine.HOPS * ctypes.sizeof(ctypes.c_uint16)
        row = chip * machine.CHIPS_AT_MOST + other
        hops = (ctypes.c_uint16 * machine.HOPS).from_address(
            self._address + machine.PATHS_AT + row * size
        )
        links = [hop - 1 for hop in hops]
        return tuple(links[: links.index(-1)] if -1 in links else links)

    def users(self, chip: int) -> tuple[int, ...]:
        """Living processes that hold memory of the chip."""
        size = ctypes.sizeof(SlotMemory)
        found = []
        for number in range(machine.SLOTS):
            slot = SlotMemory.from_address(self._address + machine.SLOTS_AT + number * size)
            held = slot.pid > 0 and slot.used_bytes[chip]
            if held and machine.lives(slot.pid, slot.start_ticks):
                found.append(int(slot.pid))
        return tuple(found)

    def record_address(self, index: int) -> int:
        """Where the record of a fault is."""
        return self._address + machine.FAULTS_AT + index * machine.FAULT_BYTES
