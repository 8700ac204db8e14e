"""What the links of a machine have carried and what is wrong with them, for a terminal."""

from collections.abc import Iterable, Iterator, Mapping

from rich.console import RenderableType
from rich.table import Table

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
    """How the chips are linked in one line; a matrix of a mesh; links that are used or faulty."""
    if not state.links:
        return
    yield _line(state)
    between_chips = [link for link in state.links if _chips(link)]
    in_matrix = len(state.chips) <= MATRIX_CHIPS and len(between_chips) > 2 * len(state.chips)
    if in_matrix and any(link.bytes for link in between_chips):
        yield _matrix(len(state.chips), between_chips, lately)
    shown = [
        link
        for link in state.links
        if faults(link) or (link.bytes and not (in_matrix and _chips(link)))
    ]
    if shown:
        yield _list(shown, lately)


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


def _chips(link: LinkState) -> tuple[int, int] | None:
    """The two chips that it joins, where it joins two."""
    start, end = link.start.removeprefix("chip "), link.end.removeprefix("chip ")
    return (int(start), int(end)) if start.isdigit() and end.isdigit() else None


def _matrix(count: int, between_chips: Iterable[LinkState], lately: Rates | None) -> Table:
    table = Table(title="carried from chip (row) to chip (column)", title_justify="left")
    cells = [["" for _ in range(count)] for _ in range(count)]
    for link in between_chips:
        if ends := _chips(link):
            mark = " !" if faults(link) else ""
            rate = f"\n{size(lately[link.number])}/s" if lately is not None else ""
            cells[ends[0]][ends[1]] = size(link.bytes) + mark + rate
    table.add_column("", justify="right")
    for number in range(count):
        table.add_column(str(number), justify="right")
    for number, row in enumerate(cells):
        table.add_row(str(number), *row)
    return table


def _list(shown: list[LinkState], lately: Rates | None) -> Table:
    ordered = sorted(shown, key=lambda link: (not faults(link), -link.bytes))
    table = Table(title="links", title_justify="left")
    table.add_column("link")
    for heading in ("carried", "transfers", "packets lost", "rate", "now"):
        if heading != "now" or lately is not None:
            table.add_column(heading, justify="right")
    table.add_column("state")
    for link in sorted(ordered[:LISTED], key=lambda link: link.number):
        now = [] if lately is None else [f"{size(lately[link.number])}/s"]
        table.add_row(
            link.name,
            size(link.bytes),
            str(link.transfers),
            str(link.errors or ""),
            f"{size(link.bytes_per_s)}/s" if link.bytes_per_s else "",
            *now,
            ", ".join(faults(link)) or "OK",
        )
    if len(ordered) > LISTED:
        table.caption = f"and {len(ordered) - LISTED} more"
    return table


def size(count: float) -> str:
    """So many bytes, in three digits and a unit."""
    unit = 0
    while count >= 999.5 and unit + 1 < len(UNITS):
        count, unit = count / 1000, unit + 1
    digits = 0 if unit == 0 or count >= 99.95 else 1
    return f"{count:.{digits}f} {UNITS[unit]}" if count else "0"
