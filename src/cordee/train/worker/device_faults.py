"""Errors after which a worker can do nothing with its device, whoever else is there: a table of facts."""

from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from cordee.core.facts import Fact, rows


@dataclass(frozen=True, slots=True)
class DeviceFault(Fact):
    """One row."""

    text: str
    """Part of the error."""
    words: str
    """What is wrong."""
    lasting: bool = False
    """Whether the device is of no use to another process either; bad memory is put out of use when a process ends."""
    own: bool = False
    """Whether it is the program's fault; but the process can do nothing with the device any more."""


@cache
def _table() -> tuple[DeviceFault, ...]:
    return tuple(rows(files("cordee.train.worker") / "device_faults.toml", DeviceFault))


def device_fault(error: BaseException) -> DeviceFault | None:
    """What is wrong with this worker's device, where an error says so: the first row that fits."""
    text = str(error)
    return next((row for row in _table() if row.text in text), None)
