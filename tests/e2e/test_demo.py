"""Does the demo go its whole way, whenever chips and replicas are killed, and leave nothing behind?"""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.waiting import until

pytestmark = pytest.mark.timeout(900)


def demo(folder: Path, *options: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "cordee", "demo", "--folder", str(folder), *options]
    pipe = subprocess.PIPE
    # Where these tests run in the background of a shell, interrupts are ignored, and children take that over.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    return subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, start_new_session=True)


def told_by(running: subprocess.Popen[str]) -> str:
    out, err = running.communicate(timeout=880)
    assert running.returncode == 0, err
    return re.sub(r"\s+", " ", out)


def remains(folder: Path) -> list[str]:
    """Processes that speak of `folder`."""
    found = subprocess.run(
        ["ps", "-ww", "-eo", "pid,args"], capture_output=True, text=True, check=True
    )
    return [line for line in found.stdout.splitlines() if str(folder) in line]


def test_the_whole_way_ends_with_a_page_of_it_and_a_second_run_takes_what_has_not_changed(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "first"
    options = (
        "--steps",
        "16",
        "--kill-step",
        "5",
        "--tokens",
        "40",
        "--kill-token",
        "11",
        "--seed",
        "7",
    )
    told = told_by(demo(folder, *options))
    assert "Proven: the port runs on the virtual chip and gives what the CPU gives." in told
    assert "worker 3, after step 5" in told
    assert "no step lost" in told
    assert "the answer is the same as undisturbed" in told
    page = (folder / "report.html").read_text()
    assert "all as it should be" in page
    assert "chip 3 is lost" in page
    assert (folder / "ported" / "cordee-port.html").exists()
    losses = json.loads((folder / "chapters" / "train.json").read_text())["outcome"]["losses"]
    assert len(losses) == 16
    assert losses[-1] < losses[0] - 0.3
    assert not remains(folder)

    again = told_by(demo(folder, *options[:-1], "8"))
    assert again.count("as in the run before") == 3
    assert "the answer is the same as undisturbed" in again
    assert "what it had from the run before" in (folder / "report.html").read_text()


@pytest.mark.slow
@pytest.mark.parametrize(("step", "token", "seed"), [(1, 1, 3), (14, 39, 11)])
def test_whenever_they_are_killed_nothing_is_lost(
    step: int, token: int, seed: int, tmp_path: Path
) -> None:
    options = ("--kill-step", str(step), "--kill-token", str(token), "--seed", str(seed))
    told = told_by(demo(tmp_path / "demo", "--steps", "16", "--tokens", "40", *options))
    assert "no step lost" in told
    assert "the answer is the same as undisturbed" in told


def test_an_interrupt_leaves_no_process_behind(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    running = demo(folder)
    until(lambda: remains(folder / "ported"), by=running)
    os.kill(running.pid, signal.SIGINT)
    running.communicate(timeout=120)
    assert running.returncode != 0
    assert not remains(folder)


def test_a_kill_that_comes_after_the_end_is_refused(tmp_path: Path) -> None:
    running = demo(tmp_path / "demo", "--steps", "10", "--kill-step", "9")
    _, err = running.communicate(timeout=60)
    assert running.returncode == 2
    assert err == "error: --kill-step 9: between 1 and 8, so that training goes on\n"
