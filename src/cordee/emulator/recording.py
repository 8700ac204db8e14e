"""What a run leaves behind: the trace of its processes in one file, a timeline, and a report."""

import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cordee.core.errors import UsageError
from cordee.emulator import report, trace
from cordee.emulator.sampling import Carried, sampled
from cordee.emulator.timeline import perfetto, timeline

INTERRUPTED = (128 + signal.SIGINT, 128 + signal.SIGTERM)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What to leave behind."""

    trace: Path | None = None
    """Where to write every operator of every process."""
    report: Path | None = None
    """Where to write the page about the run."""
    perfetto: Path | None = None
    """Where to write the run over time, for ui.perfetto.dev."""
    compare: str | None = None
    """"cpu": compare every operator with float32 on the host."""

    def __post_init__(self) -> None:
        for path in self.files:
            if path.is_dir() or not path.absolute().parent.is_dir():
                raise UsageError(f"{path}: not a file in a folder that exists")
        if self.compare not in (None, *trace.COMPARISONS):
            raise UsageError(f"--compare {self.compare}: only {', '.join(trace.COMPARISONS)}")
        if self.compare and not (self.trace or self.report):
            raise UsageError("--compare needs --report or --trace to put its findings in")

    @property
    def files(self) -> list[Path]:
        """Where to write."""
        return [path for path in (self.trace, self.report, self.perfetto) if path]

    def __bool__(self) -> bool:
        return bool(self.files)


@dataclass(frozen=True, slots=True)
class Ended:
    """A program that has run to its end."""

    exit_code: int
    """128 + number for a signal."""
    left: tuple[str, ...] = ()
    """What it left behind: a line each, for the user."""


def record(
    wanted: Wanted,
    command: Sequence[str],
    machine: str,
    carry_out: Callable[[Mapping[str, str]], int],
) -> Ended:
    """Run `carry_out` with the environment its processes need, and write what is wanted.

    `machine` is the path of the machine that it runs on. What is wanted is also written of a program
    that fails or is interrupted. Raises `UsageError` where it cannot be written.
    """
    if not wanted:
        return Ended(carry_out({}))
    began, began_s = datetime.now(UTC), time.monotonic()
    # Beside the target: a trace can be larger than a temporary file system.
    beside = wanted.files[0].absolute().parent
    folder = Path(tempfile.mkdtemp(prefix=".cordee-trace-", dir=beside))
    try:
        options = trace.Options(folder=folder, compare=wanted.compare is not None)
        with sampled(machine) as carried:
            exit_code = carry_out(options.environment())
        outcome = report.Outcome(
            command=command,
            exit_code=exit_code,
            began=began,
            duration_s=time.monotonic() - began_s,
            interrupted=exit_code in INTERRUPTED,
        )
        left = tuple(_left(wanted, sorted(folder.glob("*.jsonl")), outcome, carried))
    finally:
        shutil.rmtree(folder)
    return Ended(exit_code, left)


def _left(
    wanted: Wanted, parts: Sequence[Path], outcome: report.Outcome, carried: Carried
) -> Iterator[str]:
    """Writes what is wanted from the traces of the processes; says what, a line each."""
    if wanted.trace:
        trace.join(parts, wanted.trace)
        yield f"trace: {wanted.trace}"
    if not (wanted.report or wanted.perfetto):
        return
    processes = trace.read(*parts)
    course = timeline(processes)
    if wanted.perfetto:
        count = perfetto.write(course, carried, wanted.perfetto)
        yield f"timeline: {wanted.perfetto}: {count} events; open it in ui.perfetto.dev"
    if wanted.report:
        said = report.write(processes, course, carried.links, outcome, wanted.report)
        yield f"report: {wanted.report}: {said}"
