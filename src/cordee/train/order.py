"""What a host is to run: a job, or its part of one."""

from dataclasses import dataclass, field
from pathlib import Path

from cordee.train.agent import Program
from cordee.train.checkpoint.keep import Keep
from cordee.train.policy.trust import Checks
from cordee.train.policy.workers import Limits
from cordee.train.rendezvous import Meeting
from cordee.train.worker.job import Mode


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What is to be run."""

    program: Program
    limits: Limits
    spares: int
    mode: Mode | None
    checks: Checks
    folder: Path
    """Takes the journal, and what workers write."""
    keep: Keep = field(default_factory=Keep)
    meeting: Meeting | None = None
    """Where it finds other hosts, if there are any."""
    place: tuple[str, int] = ("127.0.0.1", 0)
    """Where this host's agent listens."""
    others: tuple[str, ...] = ()
    """Other addresses of this host."""
    secret: str = ""
    """That hosts have in common; none: one is made."""

    def told(self) -> dict[str, object]:
        """What it is, for the journal."""
        return {
            "command": [self.program.script, *self.program.arguments],
            "folder": str(self.folder),
            "workers": self.limits.workers,
            "least": self.limits.least,
            "spares": self.spares,
            "mode": self.mode,
        }
