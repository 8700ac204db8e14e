"""When a state is kept, and which of those that were kept are needed no more."""

from collections.abc import Sequence
from dataclasses import dataclass

CHECKPOINTS_KEPT = 2


@dataclass(slots=True)
class Rhythm:
    """At each multiple of so many steps; one that was missed is made up for at the next step."""

    every: int
    last: int = 0
    """The step whose state was kept last."""

    def due(self, step: int) -> bool:
        """Whether the state of a step is to be kept; also where the job went back behind the last."""
        return step // self.every > self.last // self.every or step < self.last


def superfluous(steps: Sequence[int], written: int) -> list[int]:
    """Checkpoints that are needed no more when one was written: of old steps, and of steps that
    the job went back behind because they were broken or wrong."""
    older = sorted((step for step in steps if step < written), reverse=True)
    return [step for step in steps if step > written] + older[CHECKPOINTS_KEPT - 1 :]
