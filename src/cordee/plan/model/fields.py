"""The fields of a config.json as they are asked for, and which of them nobody asked for."""

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from cordee.core.errors import UsageError
from cordee.core.facts import Fact, rows

MOST = 10**9
"""No size of a model is larger."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Harmless(Fact):
    """A field that changes neither the work nor the memory of a model."""

    name: str


@cache
def harmless() -> frozenset[str]:
    """Names of fields that a plan may pass over."""
    table = files("cordee.plan.model") / "harmless.toml"
    return frozenset(row.name for row in rows(table, Harmless))


class Fields:
    """Reads fields by their names, and remembers which were read."""

    def __init__(self, values: Mapping[str, Any], place: str) -> None:
        self._values = values
        self._place = place
        self._asked: set[str] = set()

    def completed(self, usual: Mapping[str, Any]) -> "Fields":
        """The same, with these where the config leaves them out."""
        return Fields({**usual, **self._values}, self._place)

    def number(self, *names: str, usual: int | None = None, most: int = MOST) -> int:
        """A whole number above 0 under the first of these names that is there, or `usual`."""
        found = self.maybe(*names)
        if found is None:
            if usual is None:
                raise UsageError(self._missing(names))
            return usual
        if found > most:
            name, _ = self._first(names)
            raise UsageError(f"{self._place}: {name} = {found}: {most:,} at most")
        return found

    def maybe(self, *names: str) -> int | None:
        """The same, and None where it is not there or null."""
        name, value = self._first(names)
        if value is None or value == 0:
            return None
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            raise UsageError(f"{self._place}: {name} = {value!r}: a whole number above 0 is needed")
        return value

    def size(self, *names: str) -> int | None:
        """The same, and None where it says "auto", too."""
        name, value = self._first(names)
        return None if value == "auto" else self.maybe(name)

    def has(self, name: str) -> bool:
        """Whether it says anything."""
        return self._first((name,))[1] is not None

    def flag(self, *names: str, usual: bool = False) -> bool:
        """Whether it is so; `usual` where nothing says."""
        name, value = self._first(names)
        if value is None:
            return usual
        if not isinstance(value, bool):
            raise UsageError(f"{self._place}: {name} = {value!r}: true or false is needed")
        return value

    def words(self, *names: str) -> list[str]:
        """A list of words; empty where it is not there."""
        name, value = self._first(names)
        if value is None:
            return []
        if not isinstance(value, list) or not all(isinstance(word, str) for word in value):
            raise UsageError(f"{self._place}: {name}: a list of words is needed")
        return value

    def numbers(self, name: str) -> list[int]:
        """A list of whole numbers; empty where it is not there."""
        _, value = self._first((name,))
        if value is None:
            return []
        if not isinstance(value, list) or not all(isinstance(one, int) for one in value):
            raise UsageError(f"{self._place}: {name}: a list of whole numbers is needed")
        return value

    def flags(self, name: str) -> list[bool]:
        """A list of zeros and ones; empty where it is not there or says it in another way."""
        _, value = self._first((name,))
        if not isinstance(value, list) or not all(one in (0, 1) for one in value):
            return []
        return [bool(one) for one in value]

    def counts(self, name: str) -> list[int]:
        """A list of whole numbers from 0 on; empty where it is not there."""
        found = self.numbers(name)
        if any(one < 0 for one in found):
            raise UsageError(f"{self._place}: {name}: whole numbers from 0 on are needed")
        return found

    def places(self, name: str) -> frozenset[int]:
        """Numbers of layers, in a list or in a word with commas."""
        _, value = self._first((name,))
        found = (
            [one for one in value.split(",") if one.strip()] if isinstance(value, str) else value
        )
        try:
            return frozenset(int(one) for one in found or ())
        except (TypeError, ValueError) as error:
            raise UsageError(
                f"{self._place}: {name} = {value!r}: numbers of layers are needed"
            ) from error

    def table(self, name: str) -> Mapping[str, Any]:
        """Fields within a field; none where it is not there."""
        _, value = self._first((name,))
        return value if isinstance(value, Mapping) else {}

    def text(self, name: str, usual: str = "") -> str:
        """A word."""
        _, value = self._first((name,))
        return value if isinstance(value, str) else usual

    def remarks(self) -> Iterator[str]:
        """One line for every field that nothing here understands."""
        unknown = self._values.keys() - self._asked - harmless()
        for name in sorted(unknown):
            if name.startswith("_") or self._values[name] in (None, False):
                continue
            missing = self._asked - self._values.keys()
            close = difflib.get_close_matches(name, missing, n=1, cutoff=0.75)
            hint = f"; did you mean {close[0]}?" if close else ""
            yield f"{name}: not understood, so the plan leaves it out{hint}"

    def _first(self, names: tuple[str, ...]) -> tuple[str, Any]:
        self._asked.update(names)
        for name in names:
            if self._values.get(name) is not None:
                return name, self._values[name]
        return names[0], None

    def _missing(self, names: tuple[str, ...]) -> str:
        unread = self._values.keys() - self._asked
        close = difflib.get_close_matches(names[0], unread, n=1, cutoff=0.6)
        hint = f" It has {close[0]}: is that the one?" if close else ""
        return f"{self._place}: {' or '.join(names)} is missing.{hint}"
