"""Tables in a terminal, which look alike in all parts: no lines, a bold head, numbers under one another."""

from collections.abc import Iterable, Sequence

from rich.console import Group
from rich.table import Table


def table(
    words: Sequence[str], numbers: Sequence[str] = (), more: Sequence[str] = (), title: str = ""
) -> Table:
    """One with these columns: `words` are never broken, `numbers` end at one place, `more` takes the room that is left."""
    made = Table(box=None, header_style="bold", title=title or None, title_justify="left")
    for heading in words:
        made.add_column(heading, no_wrap=True)
    for heading in numbers:
        made.add_column(heading, justify="right", no_wrap=True)
    for heading in more:
        made.add_column(heading, overflow="fold")
    return made


def figures(name: str, numbers: Sequence[str]) -> Table:
    """Many numbers of each thing: headings stand a word on a line, long names go on below, figures are whole."""
    made = table((), (), (name,))
    for heading in numbers:
        made.add_column(heading.replace(" ", "\n"), justify="right", no_wrap=True)
    return made


def ranked(
    numbers: Sequence[str], rows: Iterable[tuple[Iterable[str], str]], title: str = ""
) -> Group:
    """Layouts, the best first, with numbers; below them, why each of the others is not the first."""
    made = Table(box=None, header_style="bold", title=title or None, title_justify="left")
    made.add_column("", no_wrap=True)
    made.add_column("layout", overflow="fold")
    for heading in numbers:
        made.add_column(heading, justify="right", no_wrap=True)
    reasons = []
    for place, (cells, reason) in enumerate(rows, start=1):
        made.add_row(f"{place}", *cells)
        if reason:
            reasons.append(f"   {place}: {reason}")
    return Group(made, *([" why not the first", *reasons] if reasons else []))


def side_by_side(
    names: Iterable[str], lines: Iterable[tuple[str, Iterable[str]]], title: str = ""
) -> Table:
    """A column for each of several things, and a line for what is told of each."""
    made = Table(box=None, header_style="bold", title=title or None, title_justify="left")
    made.add_column("")
    for name in names:
        made.add_column(name, justify="right", overflow="fold")
    for heading, cells in lines:
        made.add_row(heading, *cells)
    return made
