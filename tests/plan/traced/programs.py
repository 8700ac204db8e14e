"""Programs that are traced for these tests, and what `cordee plan program` says of their traces."""

import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.plan.commands import Command

PROGRAM = Command("program")
GPT = Path(__file__).parents[3] / "examples" / "nvidia_gpt" / "train.py"
SMALL = ("--width", "128", "--heads", "2", "--block-size", "128", "--batch-size", "4")


def traced(where: Path, *command: str, options: tuple[str, ...] = ()) -> Path:
    """The trace of a command."""
    trace = where / f"{len(list(where.iterdir()))}.trace"
    words = ["--trace", str(trace), *options, "--", *command]
    done = subprocess.run(
        [sys.executable, "-m", "cordee", "run", *words], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return trace


def gpt(where: Path, layers: int, *options: str) -> Path:
    """The example written for CUDA, carried over as it runs: three steps of so many layers."""
    words = ("--steps", "3", "--layers", str(layers), "--dtype", "bfloat16", *SMALL)
    return traced(where, "python", str(GPT), *words, options=("--from-cuda", *options))


def said_of(trace: Path, *words: str) -> dict[str, Any]:
    """The answer of the command to a machine."""
    return PROGRAM.planned(str(trace), *words)
