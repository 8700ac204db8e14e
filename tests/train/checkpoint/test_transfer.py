"""Does what one host has kept come to another one as it was, and is a part of it that did not come none?"""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from cordee.train.checkpoint.memory import Memory, name_for
from cordee.train.checkpoint.snapshot import About, Block
from cordee.train.checkpoint.trail import Trail
from cordee.train.checkpoint.transfer import State, give_kept, give_state, give_step, take
from cordee.train.wire import Refused, pack, read_body

SIZES = (4096, 8)
SLOTS = 4


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Memory]:
    yield from memory(tmp_path / "here")


@pytest.fixture
def there(tmp_path: Path) -> Iterator[Memory]:
    yield from memory(tmp_path / "there")


def memory(folder: Path) -> Iterator[Memory]:
    found = Memory(name_for(folder))
    yield found
    found.remove()


def state(trail: Trail, step: int) -> None:
    """Of two megabytes, so that it comes in several pieces."""
    size = 2_000_000
    block = Block("model.weight", "uint8", (size,), memoryview(bytes([step]) * size))
    trail.write(About(step, step, "a-model", "{}"), [block])


def gradient(trail: Trail, step: int) -> None:
    room = trail.room()
    assert room is not None
    for part in room:
        part[:] = bytes([step]) * len(part)
    assert trail.made(step, [{"lr": step / 10}], SIZES)


def given(to: Memory, give: Callable[[socket.socket], None], worker: int = 0) -> None:
    """Give something to a memory, by way of a connection that ends then."""
    one, other = socket.socketpair()

    def taking() -> None:
        with other, suppress(EOFError, OSError, Refused):
            take(other, to, worker)

    thread = threading.Thread(target=taking)
    thread.start()
    try:
        with one:
            give(one)
    finally:
        thread.join()


def contents(memory: Memory, step: int) -> tuple[bytes, list[list[bytes]]]:
    """Of a state that is kept, and of the steps since."""
    kept = memory.at(step)
    assert kept is not None
    (block,) = kept.snapshot.blocks
    return bytes(block.data), [[bytes(part) for part in parts] for _, parts in kept.since]


def begun(memory: Memory) -> Trail:
    trail = Trail(memory, 0)
    state(trail, 1)
    trail.prepare(SLOTS, SIZES)
    return trail


def test_states_and_steps_are_the_same_on_the_other_side(here: Memory, there: Memory) -> None:
    trail = begun(here)

    def all_of_it(to: socket.socket) -> None:
        give_state(to, trail.newest, SLOTS, SIZES)
        for step in (2, 3):
            gradient(trail, step)
            give_step(to, trail.last[1])
        state(trail, 4)
        give_state(to, trail.newest, SLOTS, SIZES)
        gradient(trail, 5)
        give_step(to, trail.last[1])

    given(there, all_of_it)
    assert there.steps() == here.steps() == [1, 2, 3, 4, 5]
    assert [contents(there, step) for step in there.steps()] == [
        contents(here, step) for step in here.steps()
    ]


def test_a_step_that_was_left_out_comes_as_one_without_a_gradient(
    here: Memory, there: Memory
) -> None:
    trail = begun(here)
    trail.room()
    assert trail.made(2, [], ())

    def all_of_it(to: socket.socket) -> None:
        give_state(to, trail.newest, SLOTS, SIZES)
        give_step(to, trail.last[1])

    given(there, all_of_it)
    assert contents(there, 2)[1] == [[]]


def test_a_state_with_its_steps_is_given_to_one_that_asks_for_it(
    here: Memory, there: Memory
) -> None:
    trail = begun(here)
    gradient(trail, 2)
    gradient(trail, 3)
    kept = here.at(2)
    assert kept is not None
    given(there, lambda to: give_kept(to, kept))
    assert there.steps() == [1, 2]
    assert contents(there, 2) == contents(here, 2)


def test_a_step_that_ends_in_the_middle_is_not_there(here: Memory, there: Memory) -> None:
    trail = begun(here)
    gradient(trail, 2)
    gradient(trail, 3)

    def too_little(to: socket.socket) -> None:
        give_state(to, trail.newest, SLOTS, SIZES)
        made, parts = trail.last[1]
        with suppress(EOFError):
            to.settimeout(0.2)
            give_step(to, (made, [parts[0][:100]]))

    with pytest.raises(TimeoutError):
        given(there, too_little)
    assert there.steps() == [1]


def test_a_state_that_ends_in_the_middle_leaves_the_one_before(here: Memory, there: Memory) -> None:
    trail = begun(here)
    gradient(trail, 2)

    def too_little(to: socket.socket) -> None:
        give_state(to, trail.newest, SLOTS, SIZES)
        give_step(to, trail.last[1])
        state(trail, 3)
        file, written_ns = trail.newest
        to.sendall(pack(State(written_ns, file.stat().st_size, SLOTS, SIZES)))
        read_body(to)
        to.sendall(file.read_bytes()[:1_500_000])

    given(there, too_little)
    assert there.steps() == [1, 2]


def test_what_there_is_no_room_for_is_refused_before_it_is_sent(there: Memory) -> None:
    def too_much(to: socket.socket) -> None:
        to.sendall(pack(State(1, 1 << 60)))
        said = read_body(to)
        assert b'"is":"short"' in said

    given(there, too_much)
    assert there.steps() == []


def test_a_new_worker_that_gives_a_part_takes_the_place_of_the_one_before(
    here: Memory, there: Memory
) -> None:
    trail = begun(here)
    for worker in (0, 5):
        given(there, lambda to: give_state(to, trail.newest), worker)
    assert not any(file.exists() for file in there.of(0, copied=True))
    assert there.steps() == [1]


def test_a_host_that_keeps_a_part_itself_needs_no_copy_of_it(here: Memory, there: Memory) -> None:
    trail = begun(here)
    given(there, lambda to: give_state(to, trail.newest, SLOTS, SIZES))
    state(Trail(there, 7), 9)
    assert there.steps() == [1, 9]
    there.remove_but([7])
    assert there.steps() == [9]
