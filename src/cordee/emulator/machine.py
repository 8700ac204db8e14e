"""The shared state of a virtual machine: made here, used by every process that runs on it.

The state lives in a memory file that belongs to the process that made it. It has no name in any
file system: when that process and all users are gone, however they ended, nothing is left.
"""

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from cordee.core.errors import CordeeError, UsageError
from cordee.hw.chip import Chip

CHIPS_AT_MOST = 64
SLOTS = 256
LINKS = 8192
HOPS = 4
FAULTS = 64
FAULT_BYTES = 256

# The layout of runtime/machine.h; a test compares the two.
MAGIC = 0x454544524F43
VERSION = 2
HEAD = struct.Struct("<QIIIIIId32s32s")
CHIP = struct.Struct("<QQIIIIQQIIQII64s")
SLOT = struct.Struct(f"<iIQ32s{CHIPS_AT_MOST}Q")
PATH = struct.Struct(f"<{HOPS}H")
LINK = struct.Struct("<32sddIIIIIIQQQQQ")
CHIPS_AT = HEAD.size
SLOTS_AT = CHIPS_AT + CHIPS_AT_MOST * CHIP.size
PATHS_AT = SLOTS_AT + SLOTS * SLOT.size
LINKS_AT = PATHS_AT + CHIPS_AT_MOST * CHIPS_AT_MOST * PATH.size
FAULTS_AT = LINKS_AT + LINKS * LINK.size
SIZE_BYTES = FAULTS_AT + FAULTS * FAULT_BYTES

# Where in a chip its health is: the code that every call on it answers with.
HEALTH_AT = 24

FILE_NAME = "cordee-machine"


@dataclass(frozen=True, slots=True, kw_only=True)
class ChipState:
    """One chip of a running machine."""

    number: int
    """As processes see it that hide no chip from themselves."""
    total_bytes: int
    """Size of its memory."""
    used_bytes: int
    """What all living processes together hold of it."""
    health: int
    """0, or the code that every call on the chip answers with."""
    hung: bool = False
    """Whether it takes work and does not end it."""
    slow_percent: int = 0
    """How much of their time operators take; 0 is 100."""
    wrong: str = ""
    """The bit that is wrong, and of whose results."""
    step: int = 0
    """Steps that the optimizers of its process have done."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessState:
    """One living process that has used a chip of the machine."""

    pid: int
    """Number of the process."""
    command: str
    """Short name of the program."""
    used_bytes: tuple[int, ...]
    """What it holds of each chip."""


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """A running machine at one moment."""

    path: str
    """Value of CORDEE_MACHINE in its processes."""
    soc_name: str
    """Kind of its chips."""
    chips: tuple[ChipState, ...]
    """In the order of their numbers."""
    processes: tuple[ProcessState, ...]
    """In the order in which they came."""


class Machine:
    """A machine made by this process; it ends with this object or with the process."""

    def __init__(self, file: int) -> None:
        self._file = file

    @property
    def path(self) -> str:
        """What CORDEE_MACHINE must be in the processes that are to run on it."""
        return f"/proc/{os.getpid()}/fd/{self._file}"

    def close(self) -> None:
        """End the machine for processes that have not opened it yet."""
        os.close(self._file)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def create(chip: Chip, count: int, *, memory_bytes: int | None = None) -> Machine:
    """Make a machine of `count` chips, each with `memory_bytes` instead of its own where given."""
    if not 1 <= count <= CHIPS_AT_MOST:
        raise UsageError(f"{count} chips: a machine has 1 to {CHIPS_AT_MOST}")
    head = HEAD.pack(
        *(MAGIC, VERSION, SIZE_BYTES, count, SLOTS, 1, 0, 0.0), chip.soc_name.encode(), b""
    )
    one = CHIP.pack(
        memory_bytes or chip.usable_bytes,
        chip.l2_bytes or 0,
        *(chip.cube_cores, chip.vector_cores),
        *(0, 0, 0, 0, 0, 0, 0, 0, 0, b""),
    )
    file = os.memfd_create(FILE_NAME, os.MFD_CLOEXEC)
    os.truncate(file, SIZE_BYTES)
    os.pwrite(file, head + one * count, 0)
    return Machine(file)


def find() -> list[str]:
    """Paths of the running machines that this user may open, each once."""
    seen: dict[tuple[int, int], str] = {}
    for path in _machine_files():
        try:
            status = path.stat()
        except OSError:
            continue  # its process ended while we looked
        seen.setdefault((status.st_dev, status.st_ino), str(path))
    return list(seen.values())


def _machine_files() -> Iterator[Path]:
    for folder in Path("/proc").glob("[0-9]*/fd"):
        try:
            links = list(folder.iterdir())
        except OSError:
            continue  # another user's process, or one that has just ended
        for link in links:
            try:
                target = os.readlink(link)
            except OSError:
                continue
            if target.startswith(f"/memfd:{FILE_NAME}"):
                yield link


def read(path: str) -> State:
    """The machine at `path` as it is now. Raises `CordeeError` where there is none."""
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise CordeeError(f"{path}: no virtual machine there: {error.strerror}") from error
    if len(data) < SIZE_BYTES or HEAD.unpack_from(data)[:2] != (MAGIC, VERSION):
        raise CordeeError(f"{path}: not a virtual machine of this version of cordee")
    count = HEAD.unpack_from(data)[3]
    soc_name = HEAD.unpack_from(data)[8].rstrip(b"\0").decode()
    processes = tuple(_processes(data, count))
    chips = tuple(_chip(data, number, processes) for number in range(count))
    return State(path=path, soc_name=soc_name, chips=chips, processes=processes)


def _chip(data: bytes, number: int, processes: tuple[ProcessState, ...]) -> ChipState:
    memory, _, _, _, health, _, _, _, hung, slow, step, flip, _, operator = CHIP.unpack_from(
        data, CHIPS_AT + number * CHIP.size
    )
    return ChipState(
        number=number,
        total_bytes=memory,
        used_bytes=sum(process.used_bytes[number] for process in processes),
        health=health,
        hung=bool(hung),
        slow_percent=slow,
        wrong=f"bit {flip - 1} of {operator.rstrip(bytes(1)).decode()}" if flip else "",
        step=step,
    )


def _processes(data: bytes, count: int) -> Iterator[ProcessState]:
    for slot in range(SLOTS):
        pid, _, ticks, command, *used = SLOT.unpack_from(data, SLOTS_AT + slot * SLOT.size)
        if pid and lives(pid, ticks):
            name = command.rstrip(b"\0").decode(errors="replace")
            yield ProcessState(pid=pid, command=name, used_bytes=tuple(used[:count]))


def lives(pid: int, start_ticks: int) -> bool:
    """Whether the process that had this number when its slot was taken still runs."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return False
    return fields[0] not in "ZX" and start_ticks in (0, int(fields[19]))
