"""What is kept of a job for the case that all its workers are gone, and how often."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace

from cordee.core.errors import UsageError

PREFIX = "CORDEE_TRAIN_KEEP_"


@dataclass(frozen=True, slots=True, kw_only=True)
class Keep:
    """Where states go."""

    memory: str = ""
    """The name of the job's shared memory; none: nothing is kept there."""
    memory_every: int = 1
    """Every so many steps."""
    folder: str = ""
    """Takes checkpoints; none: there are none."""
    folder_every: int = 100

    def environment(self) -> dict[str, str]:
        """As variables, for a worker that is started."""
        return {
            f"{PREFIX}MEMORY": self.memory,
            f"{PREFIX}MEMORY_EVERY": str(self.memory_every),
            f"{PREFIX}FOLDER": self.folder,
            f"{PREFIX}FOLDER_EVERY": str(self.folder_every),
        }

    def or_in(self, folder: str | os.PathLike[str] | None, every: int, *, nothing: bool) -> "Keep":
        """With the folder that the program names, where the launcher names none; or nothing is kept."""
        if nothing:
            return Keep()
        if self.folder or folder is None:
            return self
        return replace(self, folder=os.path.abspath(folder), folder_every=every)


def memory_of(name: str, place: int | None) -> str:
    """The shared memory of one part of the model; None: of all of it."""
    return name if place is None else f"{name}-place{place}"


def keep_of(environment: Mapping[str, str]) -> Keep:
    """What the launcher wants to be kept. Raises `UsageError` where a variable is wrong."""
    return Keep(
        memory=environment.get(f"{PREFIX}MEMORY", ""),
        memory_every=_number(environment, "MEMORY_EVERY", 1),
        folder=environment.get(f"{PREFIX}FOLDER", ""),
        folder_every=_number(environment, "FOLDER_EVERY", 100),
    )


def _number(environment: Mapping[str, str], name: str, usual: int) -> int:
    text = environment.get(PREFIX + name) or str(usual)
    if not text.isdecimal() or int(text) < 1:
        raise UsageError(f"{PREFIX}{name} is {text!r}, no number of steps")
    return int(text)
