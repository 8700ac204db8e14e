"""Does a job wait for what its programs do after their last step, and tell of one that fails there?"""

import subprocess
import sys
from pathlib import Path

from tests.train.jobs import SMALL, job

AFTER = f"""
import os, runpy, sys, time
from pathlib import Path
runpy.run_path({str(SMALL)!r}, run_name="__main__")
if os.environ["CORDEE_TRAIN_WORKER"] == "1":
    raise ValueError("a bug in what evaluates")
time.sleep(7)
Path(__file__).with_suffix(".done").write_text("evaluated")
"""


def test_a_program_may_take_its_time_after_its_last_step_and_is_told_of_where_it_fails(
    tmp_path: Path,
) -> None:
    program = tmp_path / "after.py"
    program.write_text(AFTER)
    ended = job(tmp_path / "job", str(program), options=("-n", "2"))
    assert program.with_suffix(".done").read_text() == "evaluated"
    assert "all steps are made; the programs of workers [0] go on" in ended.out
    assert ended.code == 1
    assert "all steps are made, but worker 1 failed after them" in ended.err
    assert "a bug in what evaluates" in ended.err


def test_a_program_that_is_stopped_after_its_last_step_does_not_keep_the_job(
    tmp_path: Path,
) -> None:
    program = tmp_path / "stopped.py"
    stopped = "os.kill(os.getpid(), signal.SIGSTOP)"
    program.write_text(
        AFTER.replace("import os,", "import os, signal,")
        .replace('raise ValueError("a bug in what evaluates")', stopped)
        .replace("time.sleep(7)", "")
    )
    ended = job(tmp_path / "job", str(program), options=("-n", "2"))
    assert ended.code == 1
    assert "worker 1 failed after them: its process was ended by SIGKILL" in ended.err


def test_a_job_goes_on_where_nobody_reads_what_it_says(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "cordee", "train", "--folder", str(tmp_path), "--", str(SMALL)]
    running = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert running.stdout is not None
    running.stdout.readline()
    running.stdout.close()
    assert running.wait(timeout=120) == 0
    assert '"kind":"finish","error":null' in (tmp_path / "events.jsonl").read_text()
