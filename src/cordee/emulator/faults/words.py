"""Faults in words, as tables show them."""

from collections.abc import Iterable

from cordee.emulator.faults.answers import word
from cordee.emulator.faults.fault import Fault
from cordee.emulator.faults.records import Entry
from cordee.emulator.machine import ChipState


def health(chip: ChipState) -> str:
    """Everything that is wrong with the chip; OK where nothing is."""
    found = []
    if chip.health:
        found.append(f"{word(chip.health)} ({chip.health})")
    if chip.hung:
        found.append("hung")
    if chip.slow_percent != 100:
        found.append(f"slow x{chip.slow_percent / 100:g}")
    if chip.wrong:
        found.append(f"wrong {chip.wrong}")
    return ", ".join(found) or "OK"


def trigger(fault: Fault) -> str:
    """When the fault strikes, and how long it lasts."""
    when = "at once"
    if fault.at_step is not None:
        when = f"after step {fault.at_step}"
    elif fault.after_s is not None:
        when = f"after {fault.after_s:g} s"
    return when if fault.for_s is None else f"{when}, for {fault.for_s:g} s"


def state(entry: Entry) -> str:
    """How far the fault has come, with times since the machine started."""
    if not entry.struck_ns:
        return "waits" if entry.state == "waiting" else "taken back"
    struck = f"struck after step {entry.struck_step}, {entry.seconds(entry.struck_ns):.1f} s"
    return struck if entry.state == "active" else f"{struck}; over"


def lines(entries: Iterable[Entry]) -> list[str]:
    """A line for each fault."""
    return [
        f"fault {entry.number}: {entry.fault.kind}, {entry.fault.place}: {state(entry)}"
        for entry in entries
    ]
