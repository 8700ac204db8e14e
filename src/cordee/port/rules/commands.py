"""Commands of NVIDIA's: what each is on Ascend. The table beside it says so."""

from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from cordee.core.facts import Fact, rows
from cordee.port.documents.words import Command, Word


@dataclass(frozen=True, slots=True, kw_only=True)
class NvidiaCommand(Fact):
    """A command with these arguments; `*` stands for any."""

    name: str
    arguments: str
    native: str = ""  # the whole command on Ascend, where one stands for it
    advice: str
    effort: str = "S"
    confidence: str = "certain"  # of what the row says; "unsure" where no page says it


def known(name: str, arguments: tuple[Word, ...]) -> NvidiaCommand | None:
    """The row for a command, or None if it is not NVIDIA's."""
    found = _table().get(name, ())
    written = " ".join(word.value for word in arguments)
    exact = (row for row in found if row.arguments == written)
    loose = (row for row in found if row.arguments == "*")
    return next(exact, None) or next(loose, None)


def named(command: Command) -> tuple[int, NvidiaCommand] | None:
    """Which of a command's words names a command of NVIDIA's, and its row.

    Other than the program itself it may be one that `command -v`, `watch` or `which` is told.
    """
    asking = command.program in ("watch", "which", "type", "hash", "sudo")
    for at, word in enumerate(command.words):
        if at <= command.at or asking or command.words[0].value == "command":
            name = word.value.rsplit("/", 1)[-1]
            arguments = command.words[at + 1 :] if not asking else ()
            if row := known(name, arguments):
                return at, row
    return None


@cache
def _table() -> dict[str, tuple[NvidiaCommand, ...]]:
    found: dict[str, tuple[NvidiaCommand, ...]] = {}
    for row in rows(files(__package__) / "commands.toml", NvidiaCommand):
        found[row.name] = (*found.get(row.name, ()), row)
    return found
