"""Which branch of an `if` a script takes, where its text tells."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

TESTS = frozenset({"[[", "[", "test"})
NUMBERS: dict[str, Callable[[int, int], bool]] = {
    "-eq": lambda a, b: a == b,
    "-ne": lambda a, b: a != b,
    "-gt": lambda a, b: a > b,
    "-ge": lambda a, b: a >= b,
    "-lt": lambda a, b: a < b,
    "-le": lambda a, b: a <= b,
}


@dataclass(slots=True)
class _If:
    taken: bool | None
    """Whether an earlier branch was; None where that is not known."""
    now: bool | None
    asks: bool = True
    """Whether its condition is still being read."""


class Branches:
    """The `if`s that are open at a place of a script."""

    def __init__(self) -> None:
        self._open: list[_If] = []

    @property
    def dead(self) -> bool:
        """Whether what stands here is known not to run."""
        return any(one.now is False for one in self._open)

    @property
    def asks(self) -> bool:
        """Whether a condition is being read here."""
        return bool(self._open) and self._open[-1].asks

    def begin(self, words: Sequence[str]) -> bool:
        """At `if`; whether it is known which way it goes."""
        found = holds(words)
        self._open.append(_If(taken=found, now=found))
        return found is not None

    def otherwise(self, words: Sequence[str] | None) -> None:
        """At `elif` with a condition, or at `else` without one."""
        if not self._open:
            return
        one = self._open[-1]
        found = True if words is None else holds(words)
        one.asks = words is not None
        if one.taken:
            one.now = False
        elif one.taken is None or found is None:
            one.now, one.taken = (None if found is not False else False), None
        else:
            one.now, one.taken = found, found

    def then(self) -> None:
        """The condition has ended."""
        if self._open:
            self._open[-1].asks = False

    def goes_on(self) -> bool:
        """At a command that belongs to a condition of several: it is not known, then."""
        if not self._open or not self._open[-1].asks:
            return False
        self._open[-1].now = self._open[-1].taken = None
        return True

    def end(self) -> None:
        """At `fi`."""
        if self._open:
            self._open.pop()


def holds(words: Sequence[str]) -> bool | None:
    """What a test gives; None where only the run knows."""
    if not words or words[0] not in TESTS or any("$" in word or "`" in word for word in words):
        return None
    inner = [word for word in words[1:] if word not in ("]]", "]")]
    if len(inner) == 2 and inner[0] in ("-z", "-n"):
        return (inner[1] == "") == (inner[0] == "-z")
    if len(inner) != 3:
        return None
    left, how, right = inner
    if how in NUMBERS and re.fullmatch(r"-?\d{1,12}", left) and re.fullmatch(r"-?\d{1,12}", right):
        return NUMBERS[how](int(left), int(right))
    if how in ("=", "==", "!=") and not set("*?[") & set(right):
        return (left == right) == (how != "!=")
    return None
