"""Does a job go on where it was when none of its workers is left, and is nothing left behind?"""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.train.jobs import SMALL, Ended, Fault, job
from tests.waiting import has_ended, until

from cordee.train.checkpoint.memory import ROOT, name_for


def left_in_memory(folder: Path) -> list[Path]:
    return list(ROOT.glob(f"{name_for(folder)}*"))


def everyone(at: str, step: int, workers: int = 3) -> tuple[Fault, ...]:
    return tuple({"worker": n, "step": step, "at": at} for n in range(workers))


@pytest.mark.parametrize(
    ("point", "workers"),
    [
        ("forward", 1),
        *(pytest.param(p, 3, marks=pytest.mark.slow) for p in ("forward", "reduce", "apply")),
    ],
)
def test_when_all_workers_die_at_once_the_job_goes_on_from_shared_memory(
    point: str, workers: int, undisturbed: str, tmp_path: Path
) -> None:
    ended = job(tmp_path, options=("-n", str(workers)), faults=everyone(point, 5, workers))
    assert ended.code == 0, ended.err
    # Of three, one may live until another is there that takes over.
    assert len(ended.of("restart")) == 1 or workers > 1
    assert {event["step"] for event in ended.of("resumed")} <= {4, 5}
    assert set(ended.digests) == {undisturbed}
    assert set(ended.steps) == set(range(20))
    assert left_in_memory(tmp_path) == []


@pytest.mark.slow
def test_a_job_whose_workers_die_at_one_step_again_and_again_ends(tmp_path: Path) -> None:
    ended = job(
        tmp_path, options=("-n", "1", "--restarts", "2"), faults=everyone("forward", 3, workers=9)
    )
    assert ended.code == 1
    assert len(ended.of("restart")) == 2
    assert "no worker is left" in ended.err
    assert left_in_memory(tmp_path) == []


def killed_with_its_launcher(
    folder: Path,
    *options: str,
    number: int = signal.SIGKILL,
    program: tuple[str, ...] = (str(SMALL),),
) -> Ended:
    """A job that was ended in the middle of its steps."""
    command = [sys.executable, "-m", "cordee", "train", "-n", "2", *options]
    started = subprocess.Popen(
        [*command, "--folder", str(folder), "--", *program, "--shard-s", "0.1"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    ended = Ended(0, "", "", folder)
    until(lambda: len(ended.steps) >= 8, by=started)
    started.send_signal(number)
    out, err = started.communicate(timeout=30)
    pids = [event["pid"] for event in ended.of("worker")]
    until(lambda: all(has_ended(pid) for pid in pids))
    return Ended(started.returncode, out, err, folder)


def test_a_job_that_was_killed_with_its_launcher_goes_on_and_leaves_nothing(
    undisturbed: str, tmp_path: Path
) -> None:
    folder, kept = tmp_path / "journal", tmp_path / "kept"
    options = ("--checkpoint", str(kept), "--checkpoint-every", "5")
    before = killed_with_its_launcher(folder, *options)
    assert left_in_memory(kept) != []
    made = max(before.steps)
    ended = job(folder, options=("-n", "3", *options))
    assert ended.code == 0, ended.err
    assert {event["step"] for event in ended.of("resumed")} <= {made, made + 1}
    assert all("/dev/shm" in event["file"] for event in ended.of("resumed"))
    assert set(ended.digests) == {undisturbed}
    assert left_in_memory(kept) == []
    assert [file.name for file in sorted(kept.iterdir())] == [
        "step-000000015",
        "step-000000020",
    ]


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_what_is_in_memory_goes_to_the_disk_when_a_job_is_interrupted(
    number: int, undisturbed: str, tmp_path: Path
) -> None:
    folder, kept = tmp_path / "journal", tmp_path / "kept"
    options = ("--checkpoint", str(kept), "--checkpoint-every", "100")
    before = killed_with_its_launcher(folder, *options, number=number)
    assert before.code == 1
    assert left_in_memory(kept) == []
    made = max(before.steps)
    ended = job(folder, options=("-n", "2", *options))
    assert {event["step"] for event in ended.of("resumed")} <= {made, made + 1}
    assert set(ended.digests) == {undisturbed}


@pytest.mark.slow
def test_without_checkpoints_a_job_that_was_killed_with_its_launcher_begins_anew(
    undisturbed: str, tmp_path: Path
) -> None:
    killed_with_its_launcher(tmp_path)
    ended = job(tmp_path)
    assert ended.of("resumed") == []
    assert ended.digests[-1] == undisturbed
    assert left_in_memory(tmp_path) == []


@pytest.mark.slow
def test_a_disk_that_is_full_is_told_and_stops_nothing(
    full: Path, undisturbed: str, tmp_path: Path
) -> None:
    ended = job(
        tmp_path / "journal",
        options=("-n", "2", "--checkpoint", str(full), "--checkpoint-every", "3"),
    )
    assert ended.code == 0, ended.err
    assert set(ended.digests) == {undisturbed}
    failed = ended.of("checkpoint-failed")
    assert {event["error"] for event in failed} == {"No space left on device"}
    assert [event["step"] for event in failed] == [3, 20]  # at first, and at the end
    assert f"no checkpoint of step 3 in {full}: No space left on device" in ended.out
    assert list(full.iterdir()) == []


@pytest.mark.slow
def test_a_folder_that_cannot_be_written_is_told_and_stops_nothing(
    undisturbed: str, tmp_path: Path
) -> None:
    ended = job(
        tmp_path,
        options=("-n", "1", "--checkpoint", "/proc/nowhere", "--checkpoint-every", "3"),
    )
    assert ended.code == 0, ended.err
    assert ended.digests == [undisturbed]
    assert "no checkpoint of step 3 in /proc/nowhere: No such file or directory" in ended.out
    assert "no checkpoint of step 20 in /proc/nowhere: No such file or directory" in ended.out


def alone(checkpoint: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """The program by itself, without a launcher."""
    return subprocess.run(
        [sys.executable, str(SMALL), "--checkpoint", str(checkpoint), *words],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"OMP_NUM_THREADS": "1", "TORCH_DEVICE_BACKEND_AUTOLOAD": "0"},
    )


def test_a_program_by_itself_goes_on_at_the_newest_whole_checkpoint(
    undisturbed: str, tmp_path: Path
) -> None:
    alone(tmp_path, "--steps", "13")
    first, second = sorted(tmp_path.rglob("*.safetensors"))
    # A slow disk may still write that of step 5 at step 10, which is left out then.
    assert first.parent.name in ("step-000000005", "step-000000010")
    assert second.parent.name == "step-000000013"
    os.truncate(second, second.stat().st_size - 100)
    done = alone(tmp_path, "--steps", "20")
    assert done.stdout.startswith(f"step {int(first.parent.name.removeprefix('step-'))} ")
    assert done.stdout.split()[-1] == undisturbed
    assert f"{second} is damaged" in done.stderr


@pytest.mark.slow
def test_two_jobs_do_not_run_in_one_folder(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "cordee", "train", "-n", "1", "--folder", str(tmp_path)]
    first = subprocess.Popen([*command, "--", str(SMALL), "--shard-s", "1"])
    try:
        until((tmp_path / "events.jsonl").exists, by=first)
        time.sleep(1)
        second = job(tmp_path, options=("-n", "1"))
    finally:
        first.terminate()
        first.wait()
    assert second.code == 2
    assert "another job runs in this folder" in second.err


@pytest.mark.slow
def test_parts_of_a_model_go_to_the_disk_when_a_job_is_interrupted(tmp_path: Path) -> None:
    kept, sharded = tmp_path / "kept", str(SMALL.with_name("sharded.py"))
    options = ("-n", "2", "--checkpoint", str(kept), "--checkpoint-every", "100")
    whole = job(tmp_path / "whole", sharded, options=("-n", "2"))
    before = killed_with_its_launcher(
        tmp_path / "before", *options, number=signal.SIGINT, program=(sharded,)
    )
    made = max(before.steps)
    assert len(list(kept.rglob("*.safetensors"))) == 2
    ended = job(tmp_path / "after", sharded, options=options)
    assert ended.code == 0, ended.err
    assert {event["step"] for event in ended.of("resumed")} <= {made, made + 1}
    assert sorted(ended.digests) == sorted(whole.digests)
