"""Is a state that was written the one that is read, and is one that is not whole noticed?"""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from cordee.train.checkpoint.disk import Checkpoints
from cordee.train.checkpoint.snapshot import About, Block, Broken, Snapshot, read

NUMBERS = memoryview(bytes(range(48)))


def about(step: int) -> About:
    return About(step, step, "a-model", '{"step": "as JSON"}')


def blocks() -> list[Block]:
    return [
        Block("model.weight", "float32", (3, 2), NUMBERS[:24]),
        Block("model.empty", "float32", (0,), NUMBERS[:0]),
        Block("optimizer.0.seen", "bool", (), NUMBERS[30:31]),
    ]


def plain(snapshot: Snapshot) -> list[tuple[str, str, tuple[int, ...], bytes]]:
    return [(b.name, b.dtype, b.shape, bytes(b.data)) for b in snapshot.blocks]


def test_what_is_read_is_what_was_written(tmp_path: Path) -> None:
    file = Checkpoints(tmp_path).write(about(7), blocks())
    found = read(file)
    assert found.about == about(7)
    assert plain(found) == plain(Snapshot(about(7), tuple(blocks())))


def test_other_programs_can_read_it(tmp_path: Path) -> None:
    safetensors = pytest.importorskip("safetensors")
    file = Checkpoints(tmp_path).write(about(7), blocks())
    weight = dict(safetensors.deserialize(file.read_bytes()))["model.weight"]
    assert (weight["dtype"], weight["shape"]) == ("F32", [3, 2])
    assert bytes(weight["data"]) == bytes(NUMBERS[:24])


@pytest.mark.parametrize(
    "harm",
    [
        lambda data: data[:-1],
        lambda data: data[:-1] + bytes([data[-1] ^ 1]),
        lambda data: data.replace(b'"step":"7"', b'"step":"8"'),
        lambda data: bytes(8) + data[8:],
        lambda data: data[:20],
        lambda data: b"",
        lambda data: os.urandom(len(data)),
    ],
    ids=["cut", "a bit", "the step", "not ended", "the table", "empty", "something else"],
)
def test_one_that_is_not_whole_is_noticed(harm: Callable[[bytes], bytes], tmp_path: Path) -> None:
    file = Checkpoints(tmp_path).write(about(7), blocks())
    file.write_bytes(harm(file.read_bytes()))
    with pytest.raises(Broken, match=file.name):
        read(file)


def test_the_last_two_checkpoints_are_there_and_nothing_half_written(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    for step in (10, 20, 30):
        checkpoints.write(about(step), blocks())
    half = checkpoints.file(40).with_suffix(".safetensors.part")
    half.parent.mkdir()
    half.write_bytes(b"half")
    checkpoints.clear()
    assert sorted(tmp_path.iterdir()) == [checkpoints.file(20).parent, checkpoints.file(30).parent]


def test_checkpoints_that_the_job_went_back_behind_are_gone(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    for step in (30, 40, 20, 25):
        checkpoints.write(about(step), blocks())
    assert checkpoints.steps() == [25, 20]
