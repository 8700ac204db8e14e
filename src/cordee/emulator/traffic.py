"""What the links of a machine have carried and what is wrong with them, for a terminal."""

from collections.abc import Iterable, Iterator, Mapping

from rich import box
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from cordee.core.tables import table
from cordee.emulator.machine import LinkState, State

MATRIX_CHIPS = 16  # more columns do not fit a terminal
LISTED = 20
UNITS = ("B", "kB", "MB", "GB", "TB", "PB")

Rates = Mapping[int, float]
"""Bytes per second in the last interval, by number of the link."""


def rates(now: State, earlier: State, elapsed_s: float) -> Rates | None:
    """What each link carried since `earlier`, per second; None where that was another machine."""
    if len(now.links) != len(earlier.links):
        return None
    pairs = zip(now.links, earlier.links, strict=True)
    return {link.number: (link.bytes - before.bytes) / elapsed_s for link, before in pairs}


def links(state: State, lately: Rates | None = None) -> Iterator[RenderableType]:
    """How the chips are linked in one line; faulty links; a matrix of a mesh; other links in use.

    What is wrong comes first: a screen shows only as much as it has lines for.
    """
    if not state.links:
        return
    yield _line(state)
    if faulty := [link for link in state.links if faults(link)]:
        yield _list("links that are not as they should be", faulty, lately)
    between_chips = [link for link in state.links if link.chips]
    in_matrix = len(state.chips) <= MATRIX_CHIPS and len(between_chips) > 2 * len(state.chips)
    if in_matrix and any(link.bytes for link in between_chips):
        yield from _matrix(len(state.chips), between_chips, lately)
    used = [
        link
        for link in state.links
        if link.bytes and not faults(link) and not (in_matrix and link.chips)
    ]
    if used:
        yield _list("links", used, lately)


def faults(link: LinkState) -> list[str]:
    """What is wrong with a link, or was, in words."""
    found = []
    if link.down:
        found.append("down")
    if link.flap_up_ms or link.flap_down_ms:
        found.append(f"flaps, {link.flap_up_ms} ms up and {link.flap_down_ms} ms down")
    if link.slow_percent != 100:
        found.append(f"takes {link.slow_percent} % of its time")
    if link.loss_per_million:
        found.append(f"loses {link.loss_per_million} packets in a million")
    if link.errors and not found:
        found.append("has lost packets")
    return found


def _line(state: State) -> str:
    words = [f"{len(state.links)} links, {state.topology}"]
    if state.pace:
        words.append(f"paced: a second of theirs takes {state.pace:g} s")
    if not any(link.bytes for link in state.links):
        words.append("nothing carried yet")
    return "; ".join(words)


def _matrix(
    count: int, between_chips: Iterable[LinkState], lately: Rates | None
) -> Iterator[RenderableType]:
    """A heading and a table: in one unit, so that sixteen chips fit 80 columns."""
    amounts = {link: lately[link.number] if lately else link.bytes for link in between_chips}
    unit = _unit(max(amounts.values()))
    what, per = ("now", "/s") if lately else ("carried", "")
    heading = f"{what} from chip (row) to chip (column), {UNITS[unit]}{per}"
    yield Text(heading, style="table.title")  # a table's own would not be wider than it
    close = Table(box=box.SIMPLE_HEAD, padding=0, pad_edge=False, show_edge=False)
    cells = [["" for _ in range(count)] for _ in range(count)]
    for link, amount in amounts.items():
        if ends := link.chips:
            cells[ends[0]][ends[1]] = _short(amount / 1000**unit) + ("!" if faults(link) else "")
    close.add_column("", justify="right")
    for number in range(count):
        close.add_column(str(number), justify="right", no_wrap=True, min_width=3)
    for number, row in enumerate(cells):
        close.add_row(str(number), *row)
    yield close


def _list(title: str, shown: list[LinkState], lately: Rates | None) -> Table:
    ordered = sorted(shown, key=lambda link: -link.bytes)
    now_too = () if lately is None else ("now",)
    numbers = ("carried", "transfers", "lost", "rate", *now_too)
    made = table(("link",), numbers, ("state",), title)
    for link in sorted(ordered[:LISTED], key=lambda link: link.number):
        now = [] if lately is None else [f"{size(lately[link.number])}/s"]
        made.add_row(
            link.name,
            size(link.bytes),
            str(link.transfers),
            str(link.errors or ""),
            f"{size(link.bytes_per_s)}/s" if link.bytes_per_s else "",
            *now,
            ", ".join(faults(link)) or "OK",
        )
    if len(ordered) > LISTED:
        made.caption = f"and {len(ordered) - LISTED} more"
    return made


def _unit(count: float) -> int:
    """The unit in which an amount has at most three digits before the point."""
    unit = 0
    while count >= 999.5 and unit + 1 < len(UNITS):
        count, unit = count / 1000, unit + 1
    return unit


def _short(amount: float) -> str:
    """An amount in three characters; what is too little for them is not nothing."""
    if amount == 0:
        return "0"
    if amount < 0.05:
        return "~0"
    return f"{amount:.1f}" if amount < 9.95 else f"{amount:.0f}"


def size(count: float) -> str:
    """So many bytes, in three digits and a unit."""
    unit = _unit(count)
    count /= 1000**unit
    digits = 0 if unit == 0 or count >= 99.95 else 1
    return f"{count:.{digits}f} {UNITS[unit]}" if count else "0"
