"""How much was found: by kind of file, by what it means on Ascend, by effort, by rule."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from cordee.port.assessment import Assessment
from cordee.port.finding import Effort, Finding, Meaning, Safety

TIME = {Effort.S: "minutes", Effort.M: "hours", Effort.L: "days"}


@dataclass(slots=True)
class Count:
    """Of some findings."""

    findings: int = 0
    fixed: int = 0  # by fixes that are safe
    efforts: Counter[Effort] = field(default_factory=Counter)  # of those that are left
    rules: Counter[str] = field(default_factory=Counter)

    def add(self, finding: Finding) -> None:
        """Count one more."""
        self.findings += 1
        self.rules[finding.rule] += 1
        if finding.fix is not None and finding.fix.safety is Safety.SAFE:
            self.fixed += 1
        elif finding.meaning is not Meaning.RUNS:
            self.efforts[finding.effort] += 1


@dataclass(frozen=True, slots=True)
class Summary:
    """Of a whole assessment."""

    files: int
    lines: int
    others: int
    suppressed: int
    total: Count
    kinds: dict[str, Count]  # of files; the one with most findings first
    meanings: dict[Meaning, Count]


def counted(findings: Iterable[Finding]) -> Count:
    """The counts of some findings."""
    count = Count()
    for finding in findings:
        count.add(finding)
    return count


def summary(assessment: Assessment) -> Summary:
    """The counts that every report begins with."""
    kinds: dict[str, list[Finding]] = {}
    meanings: dict[Meaning, list[Finding]] = {}
    for finding in assessment.findings:
        kinds.setdefault(finding.kind, []).append(finding)
        meanings.setdefault(finding.meaning, []).append(finding)
    return Summary(
        files=len(assessment.files),
        lines=sum(file.lines for file in assessment.files),
        others=assessment.others,
        suppressed=assessment.suppressed,
        total=counted(assessment.findings),
        kinds={k: counted(kinds[k]) for k in sorted(kinds, key=lambda k: (-len(kinds[k]), k))},
        meanings={m: counted(meanings[m]) for m in Meaning if m in meanings},
    )
