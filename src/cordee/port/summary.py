"""How much was found and what becomes of it: by kind of file, by what it means on Ascend, by rule."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from cordee.port import ties
from cordee.port.assessment import Assessment
from cordee.port.finding import Effort, Meaning
from cordee.port.hours import Hours
from cordee.port.ties import PortResult, State, Tie

TIME = {Effort.S: "minutes", Effort.M: "hours", Effort.L: "days"}


@dataclass(slots=True)
class Count:
    """Of some ties. All of them are `fixed`, `runs`, `look`, or counted in `efforts`."""

    findings: int = 0
    fixed: int = 0  # by the port
    runs: int = 0  # as they are
    look: int = 0  # likely so: a glance will tell
    efforts: Counter[Effort] = field(default_factory=Counter)  # of those that are left to do
    rules: Counter[str] = field(default_factory=Counter)
    work: Hours = field(default_factory=Hours)  # that is left

    def add(self, tie: Tie) -> None:
        """Count one more."""
        self.findings += 1
        self.rules[tie.finding.rule] += 1
        if tie.is_left:
            self.work += tie.work
        if tie.is_glance:
            self.look += 1
        elif tie.is_left:
            self.efforts[tie.finding.effort] += 1
        elif tie.state is State.RUNS:
            self.runs += 1
        else:
            self.fixed += 1

    @property
    def left(self) -> int:
        """How many need a person."""
        return self.look + self.efforts.total()


@dataclass(frozen=True, slots=True)
class Summary:
    """Of a whole assessment."""

    files: int
    touched: int  # files with ties
    lines: int
    others: int
    suppressed: int
    problems: int
    total: Count
    kinds: dict[str, Count]  # of files; the one with most findings first
    meanings: dict[Meaning, Count]


def counted(found: Iterable[Tie]) -> Count:
    """The counts of some ties."""
    count = Count()
    for tie in found:
        count.add(tie)
    return count


def summary(assessment: Assessment, result: PortResult | None = None) -> Summary:
    """The counts that every report begins with: of what a port would do, or did."""
    return of_files(assessment, ties.files(assessment, result))


def of_files(assessment: Assessment, files: Iterable[ties.File]) -> Summary:
    """The same, of files whose ties are known."""
    found = [tie for file in files for tie in file.ties]
    kinds: dict[str, list[Tie]] = {}
    meanings: dict[Meaning, list[Tie]] = {}
    for tie in found:
        kinds.setdefault(tie.finding.kind, []).append(tie)
        meanings.setdefault(tie.finding.meaning, []).append(tie)
    return Summary(
        files=len(assessment.files),
        touched=len({tie.finding.path for tie in found}),
        lines=sum(file.lines for file in assessment.files),
        others=assessment.others,
        suppressed=assessment.suppressed,
        problems=sum(1 for _ in assessment.problems),
        total=counted(found),
        kinds={k: counted(kinds[k]) for k in sorted(kinds, key=lambda k: (-len(kinds[k]), k))},
        meanings={m: counted(meanings[m]) for m in Meaning if m in meanings},
    )
