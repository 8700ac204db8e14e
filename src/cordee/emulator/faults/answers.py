"""With which code of the runtime a chip answers while it has a fault: a table of facts."""

from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from cordee.core.facts import Fact, rows


@dataclass(frozen=True, slots=True)
class Answer(Fact):
    """One row."""

    fault: str
    """Kind of the fault; of bad memory, with its report."""
    code: int
    """Number of the error."""
    name: str
    """Its name in the vendor's header."""
    word: str
    """The chip's state in a word."""


@cache
def answers() -> dict[str, Answer]:
    """By fault."""
    table = files("cordee.emulator.faults") / "answers.toml"
    return {row.fault: row for row in rows(table, Answer)}


def word(code: int) -> str:
    """What a chip is called that answers with `code`."""
    known = [row.word for row in answers().values() if row.code == code]
    return known[0] if known else "error"
