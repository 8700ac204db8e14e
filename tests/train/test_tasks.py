"""Is a mistake of ours told at once, wherever in an agent or a coordinator it is?"""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

from tests.train.jobs import SMALL, Ended, job
from tests.waiting import until

from cordee.train.tasks import Tasks, on_failure


async def fails() -> None:
    raise KeyError("nobody thought of it")


def test_what_fails_in_the_background_is_told_with_where_it_was_raised() -> None:
    async def told() -> list[tuple[str, str]]:
        found: list[tuple[str, str]] = []
        on_failure(lambda error, trace: found.append((error, trace)))
        beside = Tasks()
        beside.start(fails())
        await beside.ended()
        await asyncio.sleep(0)
        return found

    [(error, trace)] = asyncio.run(told())
    assert error == "KeyError: 'nobody thought of it'"
    assert "in fails" in trace


def test_what_is_cancelled_has_not_failed() -> None:
    async def told() -> list[str]:
        found: list[str] = []
        on_failure(lambda error, _: found.append(error))
        beside = Tasks()
        beside.start(asyncio.sleep(60))
        beside.cancel()
        await beside.ended()
        return found

    assert asyncio.run(told()) == []


def test_a_job_that_cannot_have_another_coordinator_says_why_and_ends(tmp_path: Path) -> None:
    folder = tmp_path / "job"
    command = [sys.executable, "-m", "cordee", "train", "--folder", str(folder)]
    running = subprocess.Popen(
        [*command, "--", str(SMALL), "--shard-s", "0.2"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    journal = Ended(0, "", "", folder)
    until(lambda: len(journal.steps) >= 2, 240, running)
    pids = [event["pid"] for event in journal.of("worker")]
    [coordinator] = journal.of("coordinator")
    shutil.rmtree(folder)  # where the next one would write its log
    os.kill(coordinator["pid"], signal.SIGKILL)
    _, err = running.communicate(timeout=240)
    assert running.returncode == 1
    assert "the agent of this host failed: FileNotFoundError" in err
    assert "Traceback" not in err
    assert not any(Path(f"/proc/{pid}/cmdline").exists() for pid in pids)


def test_a_program_that_is_not_there_is_told_and_not_started_for_ever(tmp_path: Path) -> None:
    ended = job(tmp_path, "no-such-program", "--steps", "3")
    assert ended.code == 1
    assert "no-such-program: No such file or directory" in ended.err
    assert len(ended.of("exit")) <= 6
