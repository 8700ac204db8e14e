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
from cordee.hw import Chip, Topology, Wiring, wire
from cordee.hw.topology import unnamed, usual

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
    node: int = 0
    """The host that it is in."""
    hung: bool = False
    """Whether it takes work and does not end it."""
    slow_percent: int = 100
    """How much of their time its operators take."""
    wrong: str = ""
    """The bit that is wrong, and of whose results."""
    step: int = 0
    """Steps that optimizers on it have done."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkState:
    """One direction of a link of a running machine."""

    number: int
    """Place in the machine's table."""
    name: str
    """Kind, start and end, as in "HCCS 0-1"."""
    start: str
    """Where it begins: "chip 0", "node 1", or the name of what joins several, such as "switch"."""
    end: str
    """Where it ends, in the same words."""
    bytes_per_s: float
    """Its rate; 0 where that is not known."""
    latency_s: float
    """Time to cross it, apart from its rate."""
    bytes: int
    """What it has carried."""
    transfers: int
    """In how many pieces."""
    errors: int
    """Packets that were lost and sent again."""
    down: bool = False
    """Whether nothing passes."""
    slow_percent: int = 100
    """How much of their time transfers take."""
    loss_per_million: int = 0
    """Of its packets."""
    flap_up_ms: int = 0
    """How long it is up each time, where it comes and goes."""
    flap_down_ms: int = 0
    """How long it is then down; both 0 where it stays as it is."""

    @property
    def chips(self) -> tuple[int, int] | None:
        """The two chips that it joins, where it joins two."""
        start, end = self.start.removeprefix("chip "), self.end.removeprefix("chip ")
        return (int(start), int(end)) if start.isdigit() and end.isdigit() else None


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
    nodes: int = 1
    """How many hosts its chips are in."""
    topology: str = ""
    """How its chips are linked."""
    pace: float = 0.0
    """Seconds of ours for a second of its links; 0 where they are as fast as the host."""
    links: tuple[LinkState, ...] = ()
    """In the order of their numbers."""


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


def create(
    chip: Chip,
    count: int,
    *,
    nodes: int = 1,
    topology: Topology | None = None,
    pace: float = 0.0,
    memory_bytes: int | None = None,
) -> Machine:
    """Make a machine of `count` chips in `nodes` nodes.

    Without a topology the chips are linked as they usually are where that is known, and otherwise
    each with each by links of unknown speed. `pace` makes a second of the links take so many of
    ours. Each chip has `memory_bytes` instead of its own where given. Raises `UsageError` where
    the machine cannot be built.
    """
    if not 1 <= count <= CHIPS_AT_MOST:
        raise UsageError(f"{count} chips: a machine has 1 to {CHIPS_AT_MOST}")
    linked = topology or _usual(chip, count, nodes)
    _check(chip, linked, pace)
    wiring = wire(linked, count, nodes)
    if len(wiring.links) > LINKS:
        raise UsageError(f"{linked.name}: {len(wiring.links)} links: a machine has {LINKS} at most")
    head = HEAD.pack(
        *(MAGIC, VERSION, SIZE_BYTES, count, SLOTS, nodes, len(wiring.links), pace),
        *(chip.soc_name.encode(), linked.name.encode()),
    )
    memory = memory_bytes or chip.usable_bytes
    file = os.memfd_create(FILE_NAME, os.MFD_CLOEXEC)
    os.truncate(file, SIZE_BYTES)
    os.pwrite(file, head + b"".join(_packed_chip(chip, memory, n) for n in wiring.nodes), 0)
    os.pwrite(file, _packed_paths(wiring), PATHS_AT)
    os.pwrite(file, b"".join(_packed_links(wiring)), LINKS_AT)
    return Machine(file)


def _usual(chip: Chip, count: int, nodes: int) -> Topology:
    known, per_node = usual(chip.soc_name), -(-count // max(nodes, 1))
    return known if known and per_node <= known.chips_per_node else unnamed(per_node)


def _check(chip: Chip, topology: Topology, pace: float) -> None:
    if not topology.fits(chip.soc_name):
        raise UsageError(
            f"{topology.name} is built with {', '.join(topology.chips)}, not {chip.soc_name}: "
            "name one of them with --chip, or the links of your own machine in a file"
        )
    if not 0 <= pace < float("inf"):
        raise UsageError(f"--pace {pace}: a factor, such as 100 for a hundredth of the speed")
    if pace and not topology.has_figures:
        raise UsageError(
            f"--pace {pace:g}: it is not known how fast the links of {chip.soc_name} here are: "
            "name a topology with --topology whose links all have a rate and a latency"
        )


def _packed_chip(chip: Chip, memory_bytes: int, node: int) -> bytes:
    kind = (memory_bytes, chip.l2_bytes or 0, chip.cube_cores, chip.vector_cores)
    return CHIP.pack(*kind, 0, node, 0, 0, 0, 0, 0, 0, 0, b"")


def _packed_paths(wiring: Wiring) -> bytes:
    table = bytearray(CHIPS_AT_MOST * CHIPS_AT_MOST * PATH.size)
    for (start, end), path in wiring.paths.items():
        hops = [number + 1 for number in path] + [0] * (HOPS - len(path))
        PATH.pack_into(table, (start * CHIPS_AT_MOST + end) * PATH.size, *hops)
    return bytes(table)


def _packed_links(wiring: Wiring) -> Iterator[bytes]:
    for link in wiring.links:
        figures = (link.kind.bytes_per_s or 0.0, link.kind.latency_s or 0.0)
        yield LINK.pack(link.name.encode(), *figures, *(0,) * 11)


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
    _, _, _, count, _, nodes, links, pace, soc_name, topology = HEAD.unpack_from(data)
    processes = tuple(_processes(data, count))
    return State(
        path=path,
        soc_name=_text(soc_name),
        chips=tuple(_chip(data, number, processes) for number in range(count)),
        processes=processes,
        nodes=nodes,
        topology=_text(topology),
        pace=pace,
        links=tuple(_link(data, number) for number in range(links)),
    )


def _text(field: bytes) -> str:
    return field.rstrip(b"\0").decode(errors="replace")


def _chip(data: bytes, number: int, processes: tuple[ProcessState, ...]) -> ChipState:
    memory, _, _, _, health, node, _, _, hung, slow, step, flip, _, operator = CHIP.unpack_from(
        data, CHIPS_AT + number * CHIP.size
    )
    return ChipState(
        number=number,
        total_bytes=memory,
        used_bytes=sum(process.used_bytes[number] for process in processes),
        health=health,
        node=node,
        hung=bool(hung),
        slow_percent=slow or 100,
        wrong=f"bit {flip - 1} of {_text(operator)}" if flip else "",
        step=step,
    )


def _link(data: bytes, number: int) -> LinkState:
    name, rate, latency, down, slow, loss, up_ms, down_ms, _, _, carried, transfers, errors, _ = (
        LINK.unpack_from(data, LINKS_AT + number * LINK.size)
    )
    start, _, end = _text(name).rpartition(" ")[2].partition("-")
    return LinkState(
        number=number,
        name=_text(name),
        start=_place(start),
        end=_place(end),
        bytes_per_s=rate,
        latency_s=latency,
        bytes=carried,
        transfers=transfers,
        errors=errors,
        down=bool(down),
        slow_percent=slow or 100,
        loss_per_million=loss,
        flap_up_ms=up_ms,
        flap_down_ms=down_ms,
    )


def _place(word: str) -> str:
    if word.isdigit():
        return f"chip {word}"
    number = word.removeprefix("node")
    return f"node {number}" if number.isdigit() else word


def _processes(data: bytes, count: int) -> Iterator[ProcessState]:
    for slot in range(SLOTS):
        pid, _, ticks, command, *used = SLOT.unpack_from(data, SLOTS_AT + slot * SLOT.size)
        if pid and lives(pid, ticks):
            yield ProcessState(pid=pid, command=_text(command), used_bytes=tuple(used[:count]))


def lives(pid: int, start_ticks: int) -> bool:
    """Whether the process that had this number when the slot was taken still runs."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return False
    return fields[0] not in "ZX" and start_ticks in (0, int(fields[19]))
