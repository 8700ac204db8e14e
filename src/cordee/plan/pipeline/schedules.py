"""Schedules of pipelines as rows, what a layout must be like for one, and which software runs it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files

from cordee.core.errors import UsageError
from cordee.core.facts import Fact, rows

PLAIN = "1f1b"
"""What every software does; interleaved where a stage is in chunks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule(Fact):
    """A schedule. Lists are counts: for each chip of the pipeline, and besides."""

    name: str
    cuts: bool = False
    """Whether stages may be in chunks that take turns."""
    pieces: int = 1
    """Runs of layers that a chip has by the schedule itself."""
    copies: int = 1
    """Of the weights."""
    splits: bool = False
    """Whether gradients of weights are passes of their own."""
    pairs: bool = False
    """Whether a forward and a backward pass are done as one, so that each hides the other's traffic."""
    whole_end: bool = False
    """Whether backward passes at the end are whole, though others are split."""
    even: bool = False
    """Whether it takes pairs of chips and of micro-batches."""
    least: list[float] = field(default_factory=lambda: [0, 1])
    """Micro-batches."""
    kept: list[float]
    """Of a piece, passes of which everything is kept at most."""
    late: list[float]
    """Of a piece, gradients of weights that wait at most."""
    beside: list[float] = field(default_factory=lambda: [0, 0])
    """What is kept whole beside these."""
    apart: list[float] = field(default_factory=lambda: [0, 0])
    """Pairs that are not done as one, as there is nothing to pair."""
    sends: list[float]
    """Between stages, that a step waits for at its ends."""

    @property
    def folds(self) -> bool:
        """Whether the first chip has the last layers, too."""
        return self.pieces > 1 or self.copies > 1

    def problem(self, stages: int, layers: int, micro_batches: float) -> str | None:
        """Why a pipeline of so many stages cannot run by it, with what could; None where it can."""
        if stages == 1 and self.name != PLAIN:
            return f"{self.name}: a pipeline of one stage has no turns to take; pipeline 2 or more"
        if self.even and stages % 2:
            return f"{self.name}: pipeline {stages} is odd; {stages - 1} or {stages + 1} would do"
        if self.pieces > 1 and not _filled(stages * self.pieces, layers):
            most = next(n for n in range(stages, 0, -1) if n == 1 or _filled(n * 2, layers))
            return (
                f"{self.name}: {layers} layers do not fill pipeline {stages} x {self.pieces} pieces; "
                f"pipeline {most} would do"
            )
        least = counted(self.least, stages)
        if micro_batches < least:
            return (
                f"{self.name}: {micro_batches:g} micro-batches are too few for pipeline {stages}: "
                f"{least:g} or more, by a larger batch or fewer replicas"
            )
        if self.even and micro_batches % 2:
            return f"{self.name}: {micro_batches:g} micro-batches are odd; {micro_batches + 1:g} would do"
        return None


def _filled(pieces: int, layers: int) -> bool:
    """Whether each piece has a layer where all but the last have alike many."""
    return layers > -(-layers // pieces) * (pieces - 1)


def counted(count: list[float], chips: int) -> float:
    """A count of a row, for that many chips."""
    return count[0] * chips + count[1]


@cache
def schedules() -> Mapping[str, Schedule]:
    """All, by name."""
    table = files("cordee.plan.pipeline") / "schedules.toml"
    return {row.name: row for row in rows(table, Schedule)}


def schedule(name: str) -> Schedule:
    """That of this name. Raises `UsageError` with those that there are."""
    found = schedules().get(name)
    if found is None:
        raise UsageError(f"schedule = {name!r}: one of {', '.join(schedules())}")
    return found


def schedules_named(names: Sequence[str]) -> tuple[str, ...]:
    """Those that a user names; "all" is every one. Raises `UsageError` where one is not known."""
    if "all" in names:
        return tuple(schedules())
    return tuple(dict.fromkeys(schedule(name).name for name in names))


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer(Fact):
    """A software that runs a schedule."""

    stack: str
    title: str
    schedule: str
    option: str
    """How it is asked for there."""
    exclusive: list[str] = field(default_factory=list)
    """What does not go with it there: "overlaps_gradients", "context", "tied", "chunks", "recompute"."""
    hides_experts: bool = False
    """Whether it lets traffic between experts run beside the other pass of a pair; in 1F1B, beside passes of
    other micro-batches, where stages are in chunks or there is one."""


@cache
def offers() -> tuple[Offer, ...]:
    """Every one."""
    return tuple(rows(files("cordee.plan.pipeline") / "offers.toml", Offer))


def offer(stack: str, name: str) -> Offer | None:
    """How a software runs a schedule; None where it does not."""
    return next((one for one in offers() if (one.stack, one.schedule) == (stack, name)), None)


def offered(stack: str) -> tuple[str, ...]:
    """Schedules that a software runs."""
    own = (one.schedule for one in offers() if one.stack == stack)
    return tuple(dict.fromkeys((PLAIN, *own)))
