"""What `cordee chips` shows of machines that run and of the catalogue."""

import io
import os

from rich.console import Console, Group, RenderableType
from rich.table import Table

from cordee import hw
from cordee.emulator import machine
from cordee.emulator.chips import catalogue, running, tables
from cordee.emulator.machine import ChipState, ProcessState, State


def text(shown: RenderableType) -> str:
    console = Console(file=io.StringIO(), width=120)
    console.print(shown)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def cells(shown: RenderableType, first: str) -> list[str]:
    """The fields of the row that begins with `first`."""
    (table,) = shown.renderables if isinstance(shown, Group) else (shown,)
    assert isinstance(table, Table)
    rows = zip(*(column.cells for column in table.columns), strict=True)
    return next([str(cell) for cell in row] for row in rows if row[0] == first)


def test_a_machine_is_found_while_it_runs_and_no_longer() -> None:
    own = f"/proc/{os.getpid()}/"
    with machine.create(hw.chip("Ascend910B4"), 3):
        found = [state for state in running() if state.path.startswith(own)]
        assert [(state.soc_name, len(state.chips)) for state in found] == [("Ascend910B4", 3)]
    assert not [state for state in running() if state.path.startswith(own)]


def test_a_chip_shows_who_holds_its_memory() -> None:
    state = State(
        path="/proc/7/fd/3",
        soc_name="Ascend910B3",
        chips=(
            ChipState(number=0, total_bytes=2**36, used_bytes=3 * 2**20, health=0),
            ChipState(number=1, total_bytes=2**36, used_bytes=0, health=507010),
        ),
        processes=(ProcessState(pid=42, command="train.py", used_bytes=(3 * 2**20, 0)),),
    )
    shown = tables([state])
    assert cells(shown, "0") == ["0", "OK", "3", "65536", "42 3 train.py"]
    assert cells(shown, "1") == ["1", "lost (507010)", "0", "65536", ""]


def test_no_machine_is_said_in_words() -> None:
    assert "no virtual machine is running" in text(tables([]))


def test_the_catalogue_shows_every_chip_and_guesses_no_figure() -> None:
    shown = catalogue(hw.chips())
    for chip in hw.chips():
        row = cells(shown, chip.soc_name)
        assert row[2] == f"{chip.memory_bytes / 2**30:.0f}"
        assert (row[4] == "") == (chip.memory_bytes_per_s is None)
