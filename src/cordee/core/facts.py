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


def rows(path: Traversable, row: type[F]) -> Iterator[F]:
    """Yield the `[[row]]` entries of `path`, checked against the fields of `row`."""
    known = {f.name for f in fields(row)}
    needed = {f.name for f in fields(row) if f.default is MISSING}
    for number, entry in enumerate(_load(path).get("row", []), start=1):
        wrong = (entry.keys() - known) | (needed - entry.keys())
        if wrong:
            names = ", ".join(sorted(wrong))
            raise UsageError(f"{path}: row {number} has missing or unknown fields: {names}")
        yield row(**entry)


def _load(path: Traversable) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{path}: {error}") from error
