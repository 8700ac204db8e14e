"""Long runs hold no more at their end than at their beginning; killed ones leave nothing behind."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from tests.waiting import until

ROOT = Path(__file__).parents[2]
CORDEE = [sys.executable, "-m", "cordee"]


@pytest.mark.parametrize("steps", [1_500, pytest.param(10_000, marks=pytest.mark.slow)])
def test_a_long_training_leaks_nothing(steps: int) -> None:
    command = [*CORDEE, "run", "--", "python", "benchmarks/leaks.py", "--steps", str(steps)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def left_behind() -> set[str]:
    """Shared memory, temporary files, sockets and machines of the emulator that there are."""
    files = {*os.listdir("/dev/shm"), *os.listdir(tempfile.gettempdir())}
    sockets = Path("/proc/net/unix").read_text().splitlines()
    named = {line.split()[-1] for line in sockets if "cordee" in line}
    chips = subprocess.run([*CORDEE, "chips", "--json"], capture_output=True, text=True, check=True)
    return files | named | {machine["path"] for machine in json.loads(chips.stdout)}


@pytest.mark.slow
def test_a_kill_at_any_moment_leaves_nothing_behind(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        "import torch\n"
        "x = torch.ones(1 << 22, device='npu')\n"
        "while True:\n"
        "    x = (x.cpu().pin_memory().to('npu', non_blocking=True) + 1).clone()\n"
    )
    before = left_behind()
    for tenths in range(0, 60, 4):  # from the very start until well into the loop
        run = subprocess.Popen(
            [*CORDEE, "run", "--chips", "2", "--", "python", str(program)], start_new_session=True
        )
        time.sleep(tenths / 10)
        os.killpg(run.pid, signal.SIGKILL)
        run.wait()
    until(lambda: not any(str(program) in command for command in commands()))
    assert left_behind() <= before


def commands() -> list[str]:
    """The command lines of all processes."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found.append(path.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found
