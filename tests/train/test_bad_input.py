"""What is a user told whose script or request is wrong?"""

from pathlib import Path

from tests.train.jobs import SMALL, Fault, job


def test_a_script_that_is_not_there_is_named(tmp_path: Path) -> None:
    ended = job(tmp_path, "nowhere.py")
    assert (ended.code, ended.err) == (2, "error: nowhere.py: there is no such script\n")


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    ended = job(tmp_path / "file" / "job")
    assert ended.code == 2
    assert ended.err == f"error: {tmp_path / 'file' / 'job'}: cannot be made: Not a directory\n"


def test_a_script_that_fails_everywhere_is_told_once_and_not_started_for_ever(
    tmp_path: Path,
) -> None:
    faults: tuple[Fault, ...] = tuple(
        {"worker": n, "step": 2, "at": "forward", "do": "raise"} for n in range(8)
    )
    ended = job(tmp_path, options=("-n", "2"), faults=faults)
    assert ended.code == 1
    assert ended.err.startswith(
        "error: at step 2 2 workers failed; the last error: ValueError: a fault on schedule"
    )


def test_a_script_that_ends_before_it_trains_is_not_started_for_ever(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("import nothing_of_that_name\n")
    ended = job(tmp_path, str(tmp_path / "broken.py"))
    assert ended.code == 1
    assert "No module named 'nothing_of_that_name'" in ended.err
    assert len(ended.of("exit")) <= 6


def test_shards_that_are_not_gone_through_are_an_error(tmp_path: Path) -> None:
    program = tmp_path / "early.py"
    program.write_text(
        SMALL.read_text().replace(
            "            time.sleep(args.shard_s)",
            "            break  # and all others are left out",
        )
    )
    ended = job(tmp_path, str(program), options=("-n", "1"))
    assert ended.code == 1
    assert "step 0 was left before its end: go through all its shards" in ended.err


def test_joiners_that_fail_one_after_another_are_not_started_for_ever(tmp_path: Path) -> None:
    program = tmp_path / "once.py"
    first = "    training = ct.Training("
    only = 'import os\n    assert int(os.environ["CORDEE_TRAIN_WORKER"]) < 2, "only two can run"\n'
    program.write_text(SMALL.read_text().replace(first, f"    {only}{first}"))
    ended = job(
        tmp_path / "job",
        *(str(program), "--shard-s", "0.05"),
        options=("-n", "2"),
        faults=({"worker": 1, "step": 2, "at": "reduce"},),
    )
    assert ended.code == 0, ended.err
    assert "3 workers in a row ended before they took part: no more are started" in ended.out
    assert len(ended.of("exit")) == 5
    assert ended.steps == list(range(20))


def test_a_shard_for_which_there_is_no_memory_is_told_with_its_size(tmp_path: Path) -> None:
    program = tmp_path / "large.py"
    program.write_text(
        SMALL.read_text().replace(
            "            time.sleep(args.shard_s)", "            torch.empty(1 << 44).sum()"
        )
    )
    ended = job(tmp_path / "job", str(program), options=("-n", "2"))
    assert ended.code == 1
    assert ended.err.startswith("error: at step 0 2 workers failed; the last error: RuntimeError: ")
    assert "you tried to allocate 70368744177664 bytes" in ended.err
    assert len(ended.of("worker")) <= 4
