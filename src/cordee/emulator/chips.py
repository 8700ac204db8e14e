"""The virtual machines that run now, and the catalogue, as tables for a terminal."""

import time
from collections.abc import Iterable, Mapping

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from cordee.core.errors import CordeeError
from cordee.core.tables import table
from cordee.emulator import machine, traffic
from cordee.emulator.faults.words import health
from cordee.emulator.machine import State
from cordee.hw import Chip, Topology
from cordee.hw.topology import LinkKind

PAUSE_S = 1.0
MEBIBYTE = 2**20


def running() -> list[State]:
    """Every machine that runs now and that this user may look at."""
    found = []
    for path in machine.find():
        try:
            found.append(machine.read(path))
        except CordeeError:
            continue  # it ended while we looked
    return found


def watch(console: Console) -> None:
    """Show the running machines, again and again, until interrupted."""
    earlier: dict[str, State] = {}
    shown_s = time.monotonic()
    with Live(console=console, auto_refresh=False, screen=True) as live:
        try:
            while True:
                found, now_s = running(), time.monotonic()
                live.update(tables(found, earlier, now_s - shown_s), refresh=True)
                earlier, shown_s = {state.path: state for state in found}, now_s
                time.sleep(PAUSE_S)
        except KeyboardInterrupt:
            return


def tables(
    machines: Iterable[State], earlier: Mapping[str, State] | None = None, elapsed_s: float = 0.0
) -> RenderableType:
    """Of each machine: its chips, who holds how much of their memory, and what its links do.

    With the same machines as they were `elapsed_s` earlier, by path, also how fast links are used.
    """
    found: list[RenderableType] = []
    for state in machines:
        before = (earlier or {}).get(state.path)
        lately = traffic.rates(state, before, elapsed_s) if before else None
        found += [_machine(state), *traffic.links(state, lately), ""]
    return Group(*found[:-1]) if found else "no virtual machine is running; `cordee run` starts one"


def _machine(state: State) -> Table:
    places = ("chip", "node") if state.nodes > 1 else ("chip",)
    memory, title = ("used / MiB", "of / MiB"), f"{state.soc_name}, {state.path}"
    made = table((*places, "health"), memory, ("processes: number, MiB, name",), title)
    for chip in state.chips:
        users = [
            f"{process.pid} {process.used_bytes[chip.number] / MEBIBYTE:.0f} {process.command}"
            for process in state.processes
            if process.used_bytes[chip.number]
        ]
        made.add_row(
            str(chip.number),
            *([str(chip.node)] if state.nodes > 1 else []),
            health(chip),
            f"{chip.used_bytes / MEBIBYTE:.0f}",
            f"{chip.total_bytes / MEBIBYTE:.0f}",
            # A line each, of which a narrow terminal shows the beginning.
            Text("\n".join(users), no_wrap=True, overflow="ellipsis"),
        )
    return made


def catalogue(chips: Iterable[Chip]) -> Table:
    """Every kind of chip there can be; an empty field where no source gives a figure."""
    numbers = ("memory / GiB", "cores", "GB/s", "fp16 TFLOP/s")
    title = "chips that `cordee run --chip NAME` knows"
    made = table(("name", "also called"), numbers, (), title)
    for chip in chips:
        made.add_row(
            chip.soc_name,
            ", ".join(chip.aliases),
            f"{chip.memory_bytes / 2**30:.0f}",
            f"{chip.cube_cores} + {chip.vector_cores}",
            _figure(chip.memory_bytes_per_s, 1e9),
            _figure(chip.fp16_flops_per_s, 1e12),
        )
    return made


def topologies(known: Iterable[Topology]) -> Table:
    """Every topology there can be; a question mark where no source gives a figure."""
    title = "topologies that `cordee run --topology NAME` knows"
    made = table(("name",), (), ("what it is", "chips", "links, one way"), title)
    for topology in known:
        made.add_row(
            topology.name,
            f"{topology.title}; {topology.chips_per_node} chips a node",
            "\n".join(topology.chips),
            "\n".join(map(_link, topology.links)),
        )
    return made


def _link(link: LinkKind) -> str:
    rate = f"{link.bytes_per_s / 1e9:g}" if link.bytes_per_s else "?"
    latency = "?" if link.latency_s is None else f"{link.latency_s * 1e6:g}"
    return f"{link.name} ({link.kind}): {rate} GB/s, {latency} µs"


def _figure(value: int | None, unit: float) -> str:
    return "" if value is None else f"{value / unit:.0f}"
