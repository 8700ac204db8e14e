"""Packages made for NVIDIA: one row for each, or for all whose names are alike."""

import re
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from importlib.resources import files

from cordee.core.facts import Fact, rows


@dataclass(frozen=True, slots=True, kw_only=True)
class Package(Fact):
    """A package; `*` in its name stands for any text, `name[extra]` for it with that extra."""

    name: str
    native: str = ""  # the package that stands for it
    drop: bool = False  # nothing stands for it, and nothing is missed without it
    meaning: str
    effort: str
    advice: str
    confidence: str = "certain"  # of what the row says; "likely" by its name alone, "unsure" where no page says it


def package(name: str, extras: frozenset[str] = frozenset()) -> Package | None:
    """The first row that fits, or None if the package is not made for NVIDIA."""
    return next((row for row in _rows() if _fits(row, name, extras)), None)


def hints() -> tuple[str, ...]:
    """Words of which a file holds one that asks for any of them."""
    words = {re.split(r"[*\[]", row.name.strip("*-"))[0].strip("-") for row in _rows()}
    short = {word for word in words if not any(w != word and w in word for w in words)}
    spelled = {word.replace("-", sign) for word in short for sign in "-_."}
    return tuple(sorted(spelled | {"cuda", "cu11", "cu12", "cu13", "whl/cu"}))


def _fits(row: Package, name: str, extras: frozenset[str]) -> bool:
    if "[" not in row.name:
        return fnmatchcase(name, row.name)
    wanted, _, extra = row.name.rstrip("]").partition("[")
    return name == wanted and any(fnmatchcase(given, extra) for given in extras)


@cache
def _rows() -> tuple[Package, ...]:
    return tuple(rows(files(__package__) / "packages.toml", Package))
