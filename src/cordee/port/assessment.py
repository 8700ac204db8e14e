"""What was found in a whole repository."""

from collections.abc import Iterator
from dataclasses import dataclass

from cordee.port.finding import Finding


@dataclass(frozen=True, slots=True)
class Judged:
    """One file that was looked at. Files that no rule looks at are only counted."""

    path: str  # relative to the repository, with slashes
    kind: str
    lines: int
    findings: tuple[Finding, ...] = ()
    problem: str = ""  # why it could not be read as what its name says; it is left as it is
    suppressed: int = 0  # findings that comments or a baseline silence


@dataclass(frozen=True, slots=True)
class Assessment:
    """All that is said about one repository; reports are made of this and nothing else."""

    root: str  # its name, for people
    revision: str  # of git, empty where there is none
    style: str
    torch: str  # the version of torch and torch_npu aimed at
    files: tuple[Judged, ...]
    others: int = 0  # files of kinds that no rule looks at

    @property
    def suppressed(self) -> int:
        """How many findings comments or a baseline silence."""
        return sum(file.suppressed for file in self.files)

    @property
    def problems(self) -> Iterator[Judged]:
        """Every file that could not be read as what its name says, or was not read."""
        return (file for file in self.files if file.problem)

    @property
    def findings(self) -> Iterator[Finding]:
        """Every finding, file by file in the order of their paths."""
        for file in self.files:
            yield from file.findings
