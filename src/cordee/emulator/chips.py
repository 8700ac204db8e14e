"""The virtual machines that run now, and the catalogue, as tables for a terminal."""

import time
from collections.abc import Iterable

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table

from cordee.core.errors import CordeeError
from cordee.emulator import machine
from cordee.emulator.faults.words import health
from cordee.emulator.machine import State
from cordee.hw import Chip

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
    with Live(console=console, auto_refresh=False, screen=True) as live:
        try:
            while True:
                live.update(tables(running()), refresh=True)
                time.sleep(PAUSE_S)
        except KeyboardInterrupt:
            return


def tables(machines: Iterable[State]) -> RenderableType:
    """One table a machine: its chips, and who holds how much of their memory."""
    found = [_machine(state) for state in machines]
    return Group(*found) if found else "no virtual machine is running; `cordee run` starts one"


def _machine(state: State) -> Table:
    table = Table(title=f"{state.soc_name}, {state.path}", title_justify="left")
    for heading in ("chip", "health", "memory used / MiB", "of / MiB"):
        table.add_column(heading, justify="left" if heading == "health" else "right")
    table.add_column("processes (number, name, MiB)")
    for chip in state.chips:
        users = [
            f"{process.pid} {process.command} {process.used_bytes[chip.number] / MEBIBYTE:.0f}"
            for process in state.processes
            if process.used_bytes[chip.number]
        ]
        table.add_row(
            str(chip.number),
            health(chip),
            f"{chip.used_bytes / MEBIBYTE:.0f}",
            f"{chip.total_bytes / MEBIBYTE:.0f}",
            "\n".join(users),
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


def _figure(value: int | None, unit: float) -> str:
    return "" if value is None else f"{value / unit:.0f}"
