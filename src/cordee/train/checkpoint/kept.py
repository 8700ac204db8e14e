"""What is kept of a job: a state, and the steps that were made from it on."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from cordee.train.checkpoint.snapshot import Snapshot


class Made(msgspec.Struct, frozen=True):
    """What is said of a step that was made."""

    since_ns: int
    """When the state was written that this step, and those before it, go on from."""
    step: int
    """How many steps are made with it."""
    groups: list[dict[str, Any]]
    """The settings of the optimizer."""
    bytes: tuple[int, ...] = ()
    """Of each part of the gradient; none: the step was left out."""


Step = tuple[Made, list[memoryview]]
"""With the bytes of each part of the gradient."""


@dataclass(frozen=True, slots=True)
class Kept:
    """A state, and the steps that were made from it on."""

    file: Path
    snapshot: Snapshot
    since: tuple[Step, ...] = ()

    @property
    def step(self) -> int:
        """How many steps are made after the last of them."""
        return self.snapshot.about.step + len(self.since)
