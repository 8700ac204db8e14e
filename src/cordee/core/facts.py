"""Tables of facts: TOML files in which every row says where it comes from."""

import tomllib
from collections.abc import Iterator
from dataclasses import MISSING, dataclass, fields
from importlib.resources.abc import Traversable
from math import isfinite
from types import NoneType, UnionType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from cordee.core.errors import UsageError


@dataclass(frozen=True, slots=True)
class Fact:
    """One row. `source` is a URL or a document name a reader can open."""

    source: str


F = TypeVar("F", bound=Fact)


def rows(path: Traversable, row: type[F], *, table: str = "row") -> Iterator[F]:
    """Yield the `[[row]]` entries of `path`, or those of `table`, checked against `row`'s fields."""
    known = {f.name for f in fields(row)}
    kinds = get_type_hints(row)
    needed = {f.name for f in fields(row) if f.default is f.default_factory is MISSING}
    for number, entry in enumerate(_entries(path, table), start=1):
        wrong = (entry.keys() - known) | (needed - entry.keys())
        if wrong:
            names = ", ".join(sorted(wrong))
            raise UsageError(f"{path}: {table} {number} has missing or unknown fields: {names}")
        try:
            for name, value in entry.items():
                _check(name, value, kinds[name])
            yield row(**entry)
        except UsageError as error:
            raise UsageError(f"{path}: {table} {number}: {error}") from error


def _check(name: str, value: object, kind: Any) -> None:
    """Raise `UsageError` where a value is not of the kind that its field has."""
    if not _is(value, kind):
        raise UsageError(f"{name} = {value!r}: {_wanted(kind)} is needed")


WORDS = {str: "text", bool: "true or false", int: "a whole number", float: "a number"}


def _wanted(kind: Any) -> str:
    origin, inner = get_origin(kind), get_args(kind)
    if origin is dict:
        return f"a table with {_wanted(inner[1])} for each name"
    if origin is list:
        return f"a list, and in it {_wanted(inner[0])}"
    return WORDS[inner[0] if origin in (Union, UnionType) else kind]


def _is(value: object, kind: Any) -> bool:
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        return any(_is(value, one) for one in inner)
    if origin is list:
        return isinstance(value, list) and all(_is(one, inner[0]) for one in value)
    if origin is dict:
        return isinstance(value, dict) and all(_is(one, inner[1]) for one in value.values())
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)
    if kind is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if kind is NoneType:
        return value is None
    if kind in (str, bool):
        return isinstance(value, kind)
    return True


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
