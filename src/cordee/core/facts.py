"""Tables of facts: TOML files in which every row says where it comes from."""

import tomllib
from collections.abc import Iterator
from dataclasses import MISSING, dataclass, fields
from importlib.resources.abc import Traversable
from typing import Any, TypeVar

from cordee.core.errors import UsageError


@dataclass(frozen=True, slots=True)
class Fact:
    """One row. `source` is a URL or a document name a reader can open."""

    source: str


F = TypeVar("F", bound=Fact)


def rows(path: Traversable, row: type[F], *, table: str = "row") -> Iterator[F]:
    """Yield the `[[row]]` entries of `path`, or those of `table`, checked against `row`'s fields."""
    known = {f.name for f in fields(row)}
    needed = {f.name for f in fields(row) if f.default is f.default_factory is MISSING}
    for number, entry in enumerate(_entries(path, table), start=1):
        wrong = (entry.keys() - known) | (needed - entry.keys())
        if wrong:
            names = ", ".join(sorted(wrong))
            raise UsageError(f"{path}: {table} {number} has missing or unknown fields: {names}")
        try:
            yield row(**entry)
        except UsageError as error:
            raise UsageError(f"{path}: {table} {number}: {error}") from error


def only(path: Traversable, *tables: str) -> None:
    """Refuse a file that holds anything but these tables. Raises `UsageError`."""
    wrong = document(path).keys() - set(tables)
    if wrong:
        known = " and ".join(f"[[{table}]]" for table in tables)
        raise UsageError(f"{path}: {', '.join(sorted(wrong))}: such a file is made of {known}")


def document(path: Traversable) -> dict[str, Any]:
    """A file in TOML. Raises `UsageError` with its name where it cannot be read."""
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: {error}") from error


def _entries(path: Traversable, table: str) -> list[dict[str, Any]]:
    found = document(path).get(table, [])
    if not isinstance(found, list) or not all(isinstance(entry, dict) for entry in found):
        raise UsageError(f"{path}: {table} must be written [[{table}]]")
    return found
