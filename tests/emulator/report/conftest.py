"""A program that has run, with its trace and its report."""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

PROGRAM = Path(__file__).with_name("program.py")


@dataclass(frozen=True, slots=True)
class Left:
    """What a run of the program left behind."""

    trace: Path
    report: Path
    exit_code: int
    said: str


@pytest.fixture(scope="session")
def left(tmp_path_factory: pytest.TempPathFactory) -> Left:
    folder = tmp_path_factory.mktemp("report")
    trace, report = folder / "trace.jsonl", folder / "report.html"
    wanted = ["--trace", str(trace), "--report", str(report), "--compare", "cpu"]
    done = subprocess.run(
        [sys.executable, "-m", "cordee", "run", *wanted, "--", "python", str(PROGRAM)],
        capture_output=True,
        text=True,
        check=False,
    )
    return Left(trace, report, done.returncode, done.stderr)
