"""Is what a worker kept in memory there when it is gone, wherever it was interrupted?"""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from cordee.train.checkpoint.disk import Checkpoints
from cordee.train.checkpoint.kept import Kept
from cordee.train.checkpoint.memory import Memory, name_for
from cordee.train.checkpoint.snapshot import About, Block
from cordee.train.checkpoint.trail import Trail

SIZES = (4096, 8)


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Memory]:
    found = Memory(name_for(tmp_path))
    yield found
    found.remove()
    assert found.newest() is None


def state(trail: Trail, step: int) -> None:
    """Write a whole state."""
    block = Block("model.weight", "uint8", (8,), memoryview(bytes([step] * 8)))
    trail.write(About(step, step, "a-model", "{}"), [block])


def gradient(trail: Trail, step: int) -> None:
    """Make a step."""
    room = trail.room()
    assert room is not None
    for part in room:
        part[:] = bytes([step]) * len(part)
    assert trail.made(step, [{"lr": step / 10}], SIZES)


def begun(memory: Memory, worker: int = 0, step: int = 1) -> Trail:
    trail = Trail(memory, worker)
    state(trail, step)
    trail.prepare(4, SIZES)
    return trail


def steps(kept: Kept | None) -> list[int]:
    """The state's, and those since, each of which is what it says."""
    assert kept is not None
    for made, parts in kept.since:
        assert [set(part) for part in parts] == [{made.step}] * 2
        assert made.groups == [{"lr": made.step / 10}]
    return [kept.snapshot.about.step, *(made.step for made, _ in kept.since)]


def test_a_state_is_kept_and_each_step_since(memory: Memory) -> None:
    trail = begun(memory)
    gradient(trail, 2)
    gradient(trail, 3)
    assert steps(memory.newest()) == [1, 2, 3]
    assert memory.steps() == [1, 2, 3]
    assert steps(memory.at(2)) == [1, 2]


def test_a_step_that_was_left_out_is_one_without_a_gradient(memory: Memory) -> None:
    trail = begun(memory)
    trail.room()
    assert trail.made(2, [], ())
    kept = memory.newest()
    assert kept is not None
    assert [parts for _, parts in kept.since] == [[]]


def test_a_step_whose_gradient_is_half_there_is_not_one(memory: Memory) -> None:
    trail = begun(memory)
    gradient(trail, 2)
    room = trail.room()
    assert room is not None
    room[0][:100] = bytes([3]) * 100
    assert steps(memory.newest()) == [1, 2]


def test_steps_before_a_state_can_be_gone_back_to_until_two_more_are_made(memory: Memory) -> None:
    trail = begun(memory)
    gradient(trail, 2)
    gradient(trail, 3)
    state(trail, 4)
    assert steps(memory.newest()) == [4]
    assert steps(memory.at(3)) == [1, 2, 3]
    gradient(trail, 5)
    assert memory.steps() == [1, 2, 3, 4, 5]
    gradient(trail, 6)
    trail.room()
    assert memory.steps() == [1, 4, 5, 6]


def test_a_state_that_is_cut_short_leaves_the_one_before(memory: Memory) -> None:
    trail = begun(memory)
    gradient(trail, 2)
    state(trail, 3)
    newest = memory.newest()
    assert newest is not None
    os.truncate(newest.file, newest.file.stat().st_size - 1)
    assert steps(memory.newest()) == [1, 2]
    again = Trail(memory, 0)  # of a worker of a later start
    state(again, 2)
    assert steps(memory.newest()) == [2]
    assert steps(memory.at(1)) == [1]


def test_what_another_worker_wrote_later_is_newer(memory: Memory) -> None:
    gradient(begun(memory), 2)
    other = begun(memory, worker=1, step=3)
    gradient(other, 4)
    assert steps(memory.newest()) == [3, 4]
    memory.remove_but([1])
    assert memory.steps() == [3, 4]


def test_what_is_rescued_to_a_disk_is_the_state_and_the_steps(
    memory: Memory, tmp_path: Path
) -> None:
    trail = begun(memory)
    gradient(trail, 2)
    gradient(trail, 3)
    kept = memory.newest()
    assert kept is not None
    checkpoints = Checkpoints(tmp_path / "kept")
    checkpoints.rescue(kept)
    memory.remove()
    assert checkpoints.reached(1) == 3
    assert steps(checkpoints.read(1)) == [1, 2, 3]
    checkpoints.write(About(1, 9, "a-model", "{}"), [])
    assert checkpoints.reached(1) == 1
