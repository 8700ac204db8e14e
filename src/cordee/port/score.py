"""How ready a repository is.

Every tie weighs the hours that a person would take for it: the middle of the range that its effort
stands for. Who has solved something once solves it again with less: a further tie of the same rule in
one file counts one size smaller, and one whose way over was found before, anywhere in the repository,
minutes. Readiness is the weight of the ties that
need nobody, because the port rewrites them with proof or because it is certain that they run as
they are, over the weight of all. It says nothing of what no rule finds, or of how fast the result
is, and it reaches 100 only when nothing is left.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from cordee.port.hours import Hours
from cordee.port.ties import File, State, total


@dataclass(frozen=True, slots=True)
class Score:
    """The figures at the head of the page."""

    ties: int
    settled: int  # need nobody
    blockers: int
    readiness: float  # from 0 to 1
    work: Hours  # that is left
    states: dict[State, int]

    @property
    def percent(self) -> int:
        """Rounded down: 100 means that nothing is left."""
        return math.floor(self.readiness * 100)

    @property
    def left(self) -> int:
        """How many ties need a person."""
        return self.ties - self.settled


def score(files: Sequence[File]) -> Score:
    """Readiness and what is left, of a whole repository."""
    ties = tuple(tie for file in files for tie in file.ties)
    settled = tuple(tie for tie in ties if not tie.is_left)
    weight, done = total(ties).middle_h, total(settled).middle_h
    return Score(
        ties=len(ties),
        settled=len(settled),
        blockers=sum(tie.is_blocker for tie in ties),
        readiness=done / weight if len(settled) < len(ties) else 1.0,
        work=total(tuple(tie for tie in ties if tie.is_left)),
        states={state: sum(tie.state is state for tie in ties) for state in State},
    )
