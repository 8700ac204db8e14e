"""Commands of ours as programs: a chapter of the demo runs them as a user would."""

import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from cordee.core.errors import CordeeError
from cordee.core.programs import Program

Say = Callable[[str], None]
LOOK_S = 0.05


class ChapterFailed(CordeeError):
    """A command of a chapter did not do what it is there for."""


class Desk:
    """Where chapters work: their folder, and what the reader is told meanwhile."""

    def __init__(self, folder: Path, say: Say) -> None:
        self.folder = folder
        self.say = say

    def start(
        self, name: str, arguments: Sequence[str], environment: Mapping[str, str] | None = None
    ) -> AbstractContextManager[Program]:
        """Begin `cordee ARGUMENTS`; it ends with the block."""
        self.say("$ cordee " + " ".join(_short(argument) for argument in arguments))
        return Program(
            [sys.executable, "-m", "cordee", *arguments],
            self.folder / f"{name}.log",
            {"OMP_NUM_THREADS": "1", **(environment or {})},
        )

    def run(
        self,
        name: str,
        arguments: Sequence[str],
        accepted: Sequence[int] = (0,),
        environment: Mapping[str, str] | None = None,
    ) -> str:
        """What `cordee ARGUMENTS` wrote. Raises `ChapterFailed` with its last words where it fails."""
        with self.start(name, arguments, environment) as program:
            while not program.ended:
                time.sleep(LOOK_S)
            if program.exit_code not in accepted:
                raise failed(name, program)
            return program.written


def failed(name: str, program: Program) -> ChapterFailed:
    """What to say of a command that ended otherwise than it should."""
    return ChapterFailed(
        f"{name}: it ended with exit code {program.exit_code}; {program.log} ends so:\n{program.last_words()}"
    )


def _short(argument: str) -> str:
    """As one would type it: paths from here, words with spaces in quotes."""
    if argument.startswith("/"):
        near = os.path.relpath(argument)
        argument = near if len(near) < len(argument) else argument
    return f'"{argument}"' if " " in argument else argument
