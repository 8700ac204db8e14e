"""Jobs of `cordee train` for tests: run to their end, with faults on a schedule, and what became of them."""

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.train.commits import committed
from tests.train.incubator import incubated

from cordee.core.events import read

SMALL = Path(__file__).parent / "programs" / "small.py"
Fault = dict[str, str | int | float | bool]


@dataclass(frozen=True)
class Ended:
    """A job that has ended."""

    code: int
    out: str
    err: str
    folder: Path

    @property
    def events(self) -> list[dict[str, Any]]:
        journal = self.folder / "events.jsonl"
        return list(read(journal)) if journal.exists() else []

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [event for event in self.events if event["kind"] == kind]

    @property
    def digests(self) -> list[str]:
        """Of the parameters of each worker that came to the end."""
        logs = sorted(self.folder.glob("worker-*.log"))
        return [d for log in logs for d in re.findall(r"^digest ([\w-]+)", log.read_text(), re.M)]

    @property
    def steps(self) -> list[int]:
        return committed(self.events)


def job(
    folder: Path,
    *program: str,
    options: tuple[str, ...] = ("-n", "3"),
    faults: tuple[Fault, ...] = (),
    environment: dict[str, str] | None = None,
) -> Ended:
    """Run a job. `program` is what a worker runs: a script and its arguments, SMALL where there is none.

    Its workers come from a process that has PyTorch imported, as `environment` may forbid: {VARIABLE: ""}.
    """
    command = [sys.executable, "-m", "cordee", "train", *options, "--folder", str(folder)]
    done = subprocess.run(
        [*command, "--", *(program or (str(SMALL),))],
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
        env=os.environ
        | incubated()
        | {"CORDEE_TRAIN_FAULTS": json.dumps(faults) if faults else ""}
        | (environment or {}),
    )
    return Ended(done.returncode, done.stdout, done.stderr, folder)
