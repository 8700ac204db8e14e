"""What a run is asked to write about itself, and how its processes are told."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cordee.core.errors import UsageError

FOLDER = "CORDEE_TRACE"
COMPARE = "CORDEE_COMPARE"

COMPARISONS = ("cpu",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How one process traces itself."""

    folder: Path
    """Where each process writes a file of its own."""
    compare: bool = False
    """Whether every operator is compared with float32 on the host."""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "Options | None":
        """The options in CORDEE_TRACE (a folder) and CORDEE_COMPARE; None without the first.

        Raises `UsageError` for a comparison that does not exist.
        """
        folder = environment.get(FOLDER)
        if not folder:
            return None
        compare = environment.get(COMPARE, "")
        if compare and compare not in COMPARISONS:
            raise UsageError(f"{COMPARE}={compare}: only {', '.join(COMPARISONS)} is possible")
        return cls(folder=Path(folder), compare=bool(compare))

    def environment(self) -> dict[str, str]:
        """What `from_environment` gives these options back from."""
        told = {FOLDER: str(self.folder.absolute())}
        return told | {COMPARE: COMPARISONS[0]} if self.compare else told

    def file(self) -> Path:
        """Where this process writes: two processes never have the same, also not one rank's."""
        rank = os.environ.get("RANK")
        name = f"rank{rank}-{os.getpid()}" if rank else str(os.getpid())
        return self.folder / f"{name}.jsonl"
