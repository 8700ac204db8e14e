"""The options of a training program as a script gives them, and what they mean to a plan."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from cordee.core.errors import UsageError
from cordee.core.facts import Fact, rows
from cordee.core.shell.started import Script
from cordee.core.shell.words import BLANK
from cordee.plan.scripts.described import LONG, grouped


@dataclass(frozen=True, slots=True, kw_only=True)
class Meaning(Fact):
    """What an option says."""

    name: str
    kind: str
    """size: of the model; number or word: of the layout; switch: it is there or not."""
    field: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Passed(Fact):
    """Options that change neither the work nor the memory that a plan reckons with."""

    names: list[str]


@cache
def meanings() -> Mapping[str, Meaning]:
    """Every option that a plan reckons with."""
    table = files("cordee.plan.scripts") / "megatron.toml"
    return {row.name: row for row in rows(table, Meaning)}


@cache
def passed() -> frozenset[str]:
    """Every option that makes no difference to a plan."""
    table = files("cordee.plan.scripts") / "megatron.toml"
    return frozenset(name for row in rows(table, Passed, table="passed") for name in row.names)


def pairs(words: Sequence[str], begins: re.Pattern[str] = LONG) -> list[tuple[str, str]]:
    """Options with their values; several words of a value are joined."""
    return [(name, " ".join(values)) for name, values in grouped(words, begins)]


NONE = "-1"
"""Of sizes: none. So MindSpeed-LLM's --first-k-dense-replace says that no layer is dense."""


class Options:
    """The options of a training program, and where they stand."""

    def __init__(self, path: Path, read: Script, given: Sequence[tuple[str, str]]) -> None:
        self.path, self.read, self.given = path, read, dict(given)

    def place(self, name: str) -> str:
        """File and line of an option."""
        line = self.read.line_of(name)
        return f"{self.path}, line {line}" if line else str(self.path)

    def has(self, *names: str) -> bool:
        """Whether one of them is there."""
        return any(name in self.given for name in names)

    def word(self, field: str) -> str:
        """The value of the option that means this; empty where there is none."""
        for row in meanings().values():
            if row.field == field and row.name in self.given:
                return self.given[row.name]
        return ""

    def number(self, field: str, usual: int | None = None) -> int:
        """The same as a whole number. Raises `UsageError` where it is none, or missing."""
        names = [row.name for row in meanings().values() if row.field == field]
        for name in names:
            if name in self.given:
                return self._whole(name)
        if usual is None:
            raise UsageError(f"{self.path}: {names[0]} is missing: a step cannot be told without")
        return usual

    def sizes(self) -> dict[str, Any]:
        """Sizes of the model by the names of a config.json."""
        return {
            row.field: self._whole(row.name)
            for row in meanings().values()
            if row.kind == "size" and self.given.get(row.name, NONE) != NONE
        }

    def _whole(self, name: str) -> int:
        value = self.given[name]
        if BLANK.match(value):
            raise UsageError(
                f"{self.place(name)}: {name} {value} is to be filled in: write the number there"
            )
        if not value.isdecimal() or len(value) > 12:
            raise UsageError(
                f"{self.place(name)}: {name} {value}: a whole number is needed, and what it will be "
                "is not known before the script runs; write the number there"
            )
        return int(value)
