"""The virtual machines that run now, and the catalogue, as tables for a terminal."""

import time
from collections.abc import Iterable, Mapping

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from cordee.core.errors import CordeeError
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
    table = Table(title=f"{state.soc_name}, {state.path}", title_justify="left")
    table.add_column("chip", justify="right")
    if state.nodes > 1:
        table.add_column("node", justify="right")
    table.add_column("health", no_wrap=True)
    for heading in ("used / MiB", "of / MiB"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("processes: number, MiB, name")
    for chip in state.chips:
        users = [
            f"{process.pid} {process.used_bytes[chip.number] / MEBIBYTE:.0f} {process.command}"
            for process in state.processes
            if process.used_bytes[chip.number]
        ]
        table.add_row(
            str(chip.number),
            *([str(chip.node)] if state.nodes > 1 else []),
            health(chip),
            f"{chip.used_bytes / MEBIBYTE:.0f}",
            f"{chip.total_bytes / MEBIBYTE:.0f}",
            # A line each, of which a narrow terminal shows the beginning.
            Text("\n".join(users), no_wrap=True, overflow="ellipsis"),
        )
    return table


def catalogue(chips: Iterable[Chip]) -> Table:
    """Every kind of chip there can be; an empty field where no source gives a figure."""
    table = Table(title="chips that `cordee run --chip NAME` knows", title_justify="left")
    table.add_column("name")
    table.add_column("also called")
    for heading in ("memory / GiB", "cores", "GB/s", "fp16 TFLOP/s"):
        table.add_column(heading, justify="right")
    for chip in chips:
        table.add_row(
            chip.soc_name,
            ", ".join(chip.aliases),
            f"{chip.memory_bytes / 2**30:.0f}",
            f"{chip.cube_cores} + {chip.vector_cores}",
            _figure(chip.memory_bytes_per_s, 1e9),
            _figure(chip.fp16_flops_per_s, 1e12),
        )
    return table


def topologies(known: Iterable[Topology]) -> Table:
    """Every topology there can be; a question mark where no source gives a figure."""
    table = Table(title="topologies that `cordee run --topology NAME` knows", title_justify="left")
    for heading in ("name", "what it is", "chips", "links, one way"):
        table.add_column(heading)
    for topology in known:
        table.add_row(
            topology.name,
            f"{topology.title}; {topology.chips_per_node} chips a node",
            "\n".join(topology.chips),
            "\n".join(map(_link, topology.links)),
        )
    return table


def _link(link: LinkKind) -> str:
    rate = f"{link.bytes_per_s / 1e9:g}" if link.bytes_per_s else "?"
    latency = "?" if link.latency_s is None else f"{link.latency_s * 1e6:g}"
    return f"{link.name} ({link.kind}): {rate} GB/s, {latency} µs"


def _figure(value: int | None, unit: float) -> str:
    return "" if value is None else f"{value / unit:.0f}"
