"""What has no counterpart on Ascend or takes days, the same thing in many places told once."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from cordee.port.hours import Hours, work_text
from cordee.port.report.sources import Link, link
from cordee.port.ties import File, Tie, total


@dataclass(frozen=True, slots=True)
class Blocker:
    """One thing that blocks, and where."""

    first: Tie
    places: tuple[Tie, ...]
    work: Hours

    @property
    def work_text(self) -> str:
        """The effort it takes, in words."""
        return work_text(self.work)

    @property
    def source(self) -> Link:
        """Where what is said of it comes from."""
        return link(self.first.finding.source)


def blockers(files: Sequence[File]) -> list[Blocker]:
    """Most work first."""
    groups: dict[tuple[str, str], list[Tie]] = defaultdict(list)
    for file in files:
        for tie in file.ties:
            if tie.is_blocker:
                groups[tie.finding.rule, tie.finding.says].append(tie)
    found = [Blocker(ties[0], tuple(ties), total(tuple(ties))) for ties in groups.values()]
    return sorted(found, key=lambda blocker: -blocker.work.middle_h)
