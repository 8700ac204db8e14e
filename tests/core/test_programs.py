"""Do programs that are started end with who started them, and is told how they ended?"""

import asyncio
import signal
import subprocess
import sys
from pathlib import Path

from tests.waiting import until

from cordee.core.background import begun
from cordee.core.programs import Program, ended_how, signal_group

LONG = "import os, subprocess, time; subprocess.Popen(['sleep', '600']); print('here', os.getpid(), flush=True); time.sleep(600)"


def running(group: int) -> list[str]:
    """Processes of a group that have not ended."""
    lines = subprocess.run(["ps", "-eo", "pgid=,stat="], capture_output=True, text=True, check=True)
    rows = (line.split() for line in lines.stdout.splitlines())
    return [state for number, state in rows if int(number) == group and state[0] != "Z"]


def test_a_program_ends_with_its_block_and_so_does_what_it_started(tmp_path: Path) -> None:
    with Program([sys.executable, "-c", LONG], tmp_path / "log") as program:
        until(lambda: "\n" in program.written)
        group = int(program.written.split()[1])
        assert len(running(group)) == 2
    until(lambda: not running(group))
    assert program.ended


def test_one_that_is_begun_beside_a_loop_hears_and_leads_a_group_of_its_own() -> None:
    async def run() -> tuple[int, bytes, int]:
        process = await begun(
            [sys.executable, "-c", "import os; print(input(), os.environ['WORD'], os.getpgid(0))"],
            out=subprocess.PIPE,
            errors=subprocess.DEVNULL,
            hears=True,
            environment={"WORD": "there"},
        )
        said, _ = await process.communicate(b"hello\n")
        assert process.returncode is not None
        return process.pid, said, process.returncode

    pid, said, code = asyncio.run(run())
    assert said.split() == [b"hello", b"there", str(pid).encode()]
    assert ended_how(code) == "ended with exit code 0"


def test_one_that_is_begun_does_not_outlive_a_parent_that_is_killed() -> None:
    script = (
        "import asyncio, subprocess\n"
        "from cordee.core.background import begun\n"
        "async def run():\n"
        "    child = await begun(['sleep', '600'], out=subprocess.DEVNULL, errors=subprocess.DEVNULL)\n"
        "    print(child.pid, flush=True)\n"
        "    await child.wait()\n"
        "asyncio.run(run())\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    assert running(child)
    parent.kill()
    parent.communicate()
    until(lambda: not running(child))


def test_a_signal_to_a_group_that_has_ended_is_no_error() -> None:
    process = subprocess.Popen(["sleep", "600"], start_new_session=True)
    signal_group(process.pid, signal.SIGTERM)
    assert ended_how(process.wait()) == "was ended by SIGTERM"
    signal_group(process.pid, signal.SIGTERM)
