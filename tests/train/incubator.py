"""One process with PyTorch for all jobs of a run of tests: most of them need not see it being imported."""

import atexit
import os
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

from tests.waiting import until

from cordee.core.programs import end_with_parent
from cordee.train.incubator import VARIABLE

AS_FOR_A_JOB = {
    "OMP_NUM_THREADS": "1",
    "PYTHONUNBUFFERED": "1",
    "TORCH_DEVICE_BACKEND_AUTOLOAD": "0",
}


def incubated() -> dict[str, str]:
    """What a job is told, so that it has its workers from there."""
    return {VARIABLE: str(_started())}


@cache
def _started() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="cordee-incubator-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    begin(folder / "socket")
    return folder / "socket"


def begin(place: Path) -> "subprocess.Popen[bytes]":
    """One that listens; it ends with us."""
    process = subprocess.Popen(
        [sys.executable, "-m", "cordee.train.incubator", str(place)],
        stdin=subprocess.DEVNULL,
        env=os.environ | AS_FOR_A_JOB,
        preexec_fn=end_with_parent,
    )
    atexit.register(process.kill)
    until(place.exists, by=process)
    return process
