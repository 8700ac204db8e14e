"""Every finding with where it stands: whether it still needs a person, why, and for how long."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from cordee.port.assessment import Assessment, Judged
from cordee.port.finding import (
    Confidence,
    Effort,
    Finding,
    Meaning,
    NewFile,
    Safety,
    agreeing,
)
from cordee.port.hours import Hours, hours
from cordee.port.prove.proof import Proof
from cordee.port.solved import Solved


class State(StrEnum):
    """Where a tie stands."""

    REWRITTEN = "rewritten"  # by the port that was made
    REWRITABLE = "will be rewritten"  # by `cordee port`, if it is run
    RUNS = "runs as is"
    LEFT = "left"  # for a person


class LeftOver(Protocol):
    """A finding whose fix, if it has one, was not made."""

    @property
    def finding(self) -> Finding:
        """The finding."""

    @property
    def why(self) -> str:
        """Why not, in words for people; empty if there is nothing to say."""


class PortResult(Protocol):
    """What a port did, as far as this page asks."""

    @property
    def made(self) -> Iterable[Finding]:
        """The findings whose fixes were made."""

    @property
    def left(self) -> Iterable[LeftOver]:
        """The others."""

    @property
    def new(self) -> Sequence[NewFile]:
        """The files that came with fixes."""

    @property
    def proof(self) -> Proof | None:
        """What running it has shown."""


@dataclass(frozen=True, slots=True)
class Tie:
    """One finding and where it stands."""

    finding: Finding
    state: State
    reason: str  # why it is left
    work: Hours  # of a person, if it were theirs to do

    @property
    def is_left(self) -> bool:
        """Whether it needs a person."""
        return self.state is State.LEFT

    @property
    def is_glance(self) -> bool:
        """Whether it likely runs as it is, and somebody should see that it does."""
        return self.is_left and self.finding.meaning is Meaning.RUNS and not self.reason

    @property
    def is_blocker(self) -> bool:
        """Whether it needs a person and has no counterpart, or takes days."""
        finding = self.finding
        return self.is_left and (finding.meaning is Meaning.MISSING or finding.effort is Effort.L)


@dataclass(frozen=True, slots=True)
class File:
    """One file and its ties."""

    judged: Judged
    ties: tuple[Tie, ...]

    @property
    def left(self) -> tuple[Tie, ...]:
        """Those that need a person."""
        return tuple(tie for tie in self.ties if tie.is_left)

    @property
    def work(self) -> Hours:
        """What is left for people to do."""
        return total(self.left)


def files(assessment: Assessment, result: PortResult | None) -> tuple[File, ...]:
    """Every file that was judged, in the assessment's order."""
    done = None if result is None else _Done(result)
    left, settled = Solved(), Solved()
    return tuple(
        File(judged, tuple(_ties(judged, done, left, settled))) for judged in assessment.files
    )


def total(ties: tuple[Tie, ...]) -> Hours:
    """What they take together."""
    return sum((tie.work for tie in ties), Hours())


class _Done:
    """A port's result, ready to be asked about each finding."""

    def __init__(self, result: PortResult) -> None:
        self.made = {_key(finding) for finding in result.made}
        self.why = {_key(left.finding): left.why for left in result.left}

    def state(self, finding: Finding) -> tuple[State, str]:
        if _key(finding) in self.made:
            return State.REWRITTEN, ""
        if _runs(finding):
            return State.RUNS, ""
        return State.LEFT, self.why.get(_key(finding), "")


def _key(finding: Finding) -> tuple[str, str, int, int, str]:
    return finding.path, finding.rule, finding.start, finding.end, finding.says


def _ties(judged: Judged, done: _Done | None, left: Solved, settled: Solved) -> Iterator[Tie]:
    fixes = [f.fix for f in judged.findings if f.fix and f.fix.safety is Safety.SAFE]
    dropped = {id(fix) for fix in agreeing(fixes)[1]} if done is None else set()
    for finding in judged.findings:
        if done is None:
            state, reason = _foreseen(finding, id(finding.fix) in dropped)
        else:
            state, reason = done.state(finding)
        solved = left if state is State.LEFT else settled
        yield Tie(finding, state, reason, hours(finding, solved.known(finding)))


def _foreseen(finding: Finding, clashes: bool) -> tuple[State, str]:
    fix = finding.fix
    if fix is not None and fix.safety is Safety.SAFE and not clashes:
        return State.REWRITABLE, ""
    if _runs(finding):
        return State.RUNS, ""
    if fix is None:
        return State.LEFT, ""
    if clashes:
        return State.LEFT, "its fix overlaps that of another finding: port a second time"
    return (
        State.LEFT,
        "its fix is likely right, not proven: --unsafe makes it, for you to look at",
    )


def _runs(finding: Finding) -> bool:
    """Only what we are certain of needs nobody to look."""
    return finding.meaning is Meaning.RUNS and finding.confidence is Confidence.CERTAIN
