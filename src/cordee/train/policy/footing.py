"""From which step all members go on together, who has its state, and who needs it: from what each says of itself."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cordee.train.policy.teams import common
from cordee.train.policy.workers import Report


@dataclass(frozen=True, slots=True)
class Footing:
    """How members go on."""

    step: int
    sources: tuple[int, ...]
    """Of each place a member that has the state."""
    restore: tuple[int, ...]
    """Members that need it."""
    back: tuple[int, ...]
    """Members that take it from what was kept."""


def footing(reports: Mapping[int, Report], columns: Sequence[Sequence[int]]) -> Footing | None:
    """`columns`: of each place the members that have it. None: a part of the model is lost."""
    step = common([[reports[n] for n in column] for column in columns])
    if step is None:
        return None
    members = sorted(n for column in columns for n in column)
    able = {n for n, r in reports.items() if r.step == step or r.makes(step)}
    back = tuple(n for n in members if n not in able and step in reports[n].kept)
    able |= set(back)
    sources = tuple(min(n for n in column if n in able) for column in columns)
    # Models just made may differ.
    restore = tuple(n for n in members if n not in (sources if step <= 0 else able))
    return Footing(step, sources, restore, back)
