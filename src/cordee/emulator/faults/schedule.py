"""Reads the faults of a run from a TOML file of `[[fault]]` rows."""

from pathlib import Path

from cordee.core.errors import UsageError
from cordee.core.facts import document
from cordee.emulator.faults.fault import Fault, from_row


def read(path: Path) -> list[Fault]:
    """The faults of the file, in its order. Raises `UsageError` with the file, the row and the key."""
    found = document(path)
    unknown = sorted(found.keys() - {"fault"})
    rows = found.get("fault", [])
    if unknown or not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise UsageError(f"{path}: holds [[fault]] rows and nothing else: {', '.join(unknown)}")
    faults = []
    for number, row in enumerate(rows, start=1):
        try:
            faults.append(from_row(row))
        except UsageError as error:
            raise UsageError(f"{path}: fault {number}: {error}") from error
    return faults
