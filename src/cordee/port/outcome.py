"""What a port has done, for a terminal: what is left and why, files, and what comes next."""

from collections.abc import Iterator
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from cordee.port import overview, summary, ties
from cordee.port.finding import Effort
from cordee.port.formats.text import clean, problem
from cordee.port.overview import Thing, command
from cordee.port.porting import Ported
from cordee.port.repository import PATCH
from cordee.port.summary import TIME, Summary

MOST_FILES = 15  # that are listed one by one
MOST_THINGS = 15  # left, on a terminal
MOST_PLACES = 5  # of each


def show(ported: Ported, console: Console, proving: bool = False) -> None:
    """All of it; if a proof follows, it is not among what comes next."""
    files = ties.files(ported.assessment, ported)
    left = overview.things(tie for file in files for tie in file.ties)
    for file in ported.assessment.problems:
        console.print(problem(file.problem), soft_wrap=True)
    _left(left, console)
    if 0 < len(ported.changed) <= MOST_FILES:
        console.print(_table(ported), "")
    counts = summary.of_files(ported.assessment, files)
    first = overview.FIRST if len(left) > MOST_THINGS else 0  # they have just been named
    overview.show(counts, files, console, ported=True, first=first)
    if ported.folder is None:
        return
    console.print()
    for name, where in _places(ported, ported.folder):
        console.print(Text.assemble((f"{name:<11}", "dim"), clean(str(where))), soft_wrap=True)
    following = list(_next(ported, counts, left, proving))
    if following:
        overview.commands(following, console)


def _left(left: list[Thing], console: Console) -> None:
    """What people have to see to, by effort; on a terminal not more than fits a reader."""
    shown = left[:MOST_THINGS] if console.is_terminal else left
    most = MOST_PLACES if console.is_terminal else 10**9
    for effort in reversed(Effort):
        things = [thing for thing in shown if thing.finding.effort is effort]
        if things:
            console.print(Text(f"Left, {TIME[effort]} each", "bold"))
        for thing in things:
            console.print(overview.indented(_thing(thing, most)))
    if len(shown) < len(left):
        console.print(Text(f"  and {len(left) - len(shown):,} other things: see the report", "dim"))
    if left:
        console.print()


def _thing(thing: Thing, most: int) -> Table:
    finding = thing.finding
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    grid.add_row(Text(finding.rule, "bold"), Text(overview.brief(finding.says)))
    why = thing.ties[0].reason or finding.advice
    if why:
        grid.add_row("", Text(f"→ {clean(why)}"))
    grid.add_row("", Text(clean(overview.places(thing.ties, most)), "dim"))
    return grid


def _table(ported: Ported) -> Table:
    table = Table.grid(padding=(0, 3, 0, 0))
    table.add_column(overflow="fold")
    table.add_column()
    table.add_row(Text("Changed", "bold"), "")
    for file in ported.changed:
        table.add_row(Text(f"  {clean(file.path)}"), f"{len(file.made):,} rewritten")
    for new in ported.new:
        table.add_row(Text(f"  {clean(new.path)}"), "new")
    return table


def _places(ported: Ported, folder: Path) -> Iterator[tuple[str, Path]]:
    yield "the port", folder
    if ported.patch:
        yield "its patch", folder / PATCH
    if ported.report:
        yield "its report", folder / ported.report


def _next(
    ported: Ported, counts: Summary, left: list[Thing], proving: bool
) -> Iterator[tuple[str, str]]:
    assert ported.folder is not None
    if counts.total.fixed and not proving:
        run = "run --virtual -- python …"
        yield f"cd {ported.folder} && cordee {run}", "runs it on a virtual chip"
    if left:
        yield command("explain", left[0].finding.rule), "says why, with examples"
    if ported.patch:
        yield command("port", "--undo", ported.folder), "takes it back"
