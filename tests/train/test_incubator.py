"""Jobs whose workers come from a process that has PyTorch already: they compute and end as others do."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from tests.train.incubator import begin
from tests.train.jobs import SMALL, Ended, job
from tests.waiting import has_ended, until

from cordee.train.incubator import VARIABLE

Running = tuple["subprocess.Popen[bytes]", Path]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> "Iterator[Running]":
    """An incubator that listens at a path."""
    place = tmp_path_factory.mktemp("incubator") / "socket"
    process = begin(place)
    yield process, place
    process.kill()
    process.wait()


def children(pid: int) -> set[int]:
    """Those of a process that run."""
    with suppress(OSError):
        found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return {child for child in map(int, found) if not has_ended(child)}
    return set()


def started(folder: Path, place: Path) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "cordee", "train", "-n", "2"]
    return subprocess.Popen(
        [*command, "--folder", str(folder / "job"), "--", str(SMALL), "--shard-s", "0.05"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | {VARIABLE: str(place), "CORDEE_TRAIN_FAULTS": ""},
    )


def at_work(folder: Path, launcher: "subprocess.Popen[str]") -> None:
    until(lambda: len(Ended(0, "", "", folder / "job").steps) > 2, by=launcher)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_nothing_is_left_when_its_launcher_ends(
    number: signal.Signals, running: Running, tmp_path: Path
) -> None:
    incubator, place = running
    launcher = started(tmp_path, place)
    at_work(tmp_path, launcher)
    (nursery,) = children(incubator.pid)
    workers = children(nursery)
    launcher.send_signal(number)
    launcher.communicate(timeout=150)
    until(lambda: all(has_ended(pid) for pid in (nursery, *workers)))
    assert incubator.poll() is None


def test_its_workers_are_started_elsewhere_when_what_starts_them_is_killed(
    running: Running, undisturbed: str, tmp_path: Path
) -> None:
    incubator, place = running
    launcher = started(tmp_path, place)
    at_work(tmp_path, launcher)
    (nursery,) = children(incubator.pid)
    os.kill(nursery, signal.SIGKILL)
    out, _ = launcher.communicate(timeout=150)
    assert launcher.returncode == 0, out
    assert Ended(0, "", "", tmp_path / "job").digests == [undisturbed] * 2


def test_a_job_imports_pytorch_itself_where_there_is_nobody(tmp_path: Path) -> None:
    told = {VARIABLE: str(tmp_path / "nobody")}
    ended = job(tmp_path, str(SMALL), "--steps", "3", options=("-n", "1"), environment=told)
    assert (ended.code, len(ended.digests)) == (0, 1), ended.out + ended.err


def test_a_job_imports_pytorch_itself_where_that_was_imported_in_another_way(
    running: Running, tmp_path: Path
) -> None:
    folder, told = tmp_path / "job", {VARIABLE: str(running[1])}
    command = [sys.executable, "-m", "cordee", "train", "-n", "2", "--threads", "2"]
    with subprocess.Popen(
        [*command, "--folder", str(folder), "--", str(SMALL), "--steps", "8", "--shard-s", "0.05"],
        env=os.environ | told | {"CORDEE_TRAIN_FAULTS": ""},
    ) as launcher:
        until(lambda: Ended(0, "", "", folder).steps, by=launcher)
        assert children(running[0].pid) == set()
        assert launcher.wait(150) == 0


def test_it_goes_on_when_the_process_that_forked_it_is_killed_and_with_the_same_bits(
    undisturbed: str, tmp_path: Path
) -> None:
    place = tmp_path / "socket"
    incubator = begin(place)
    launcher = started(tmp_path, place)
    at_work(tmp_path, launcher)
    (nursery,) = children(incubator.pid)
    assert len(children(nursery)) == 2
    incubator.kill()
    out, _ = launcher.communicate(timeout=150)
    assert launcher.returncode == 0, out
    assert Ended(0, "", "", tmp_path / "job").digests == [undisturbed] * 2
    until(lambda: has_ended(nursery))
    incubator.wait()
