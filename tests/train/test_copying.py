"""Does what a worker keeps come to another host in the background, and never keep training waiting for long?"""

import socket
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from tests.waiting import until

from cordee.train.checkpoint.keep import memory_of
from cordee.train.checkpoint.memory import Memory, name_for
from cordee.train.checkpoint.snapshot import About, Block
from cordee.train.checkpoint.trail import Trail
from cordee.train.wire import Told
from cordee.train.worker.copying import Copying
from cordee.train.worker.feed import Mouth
from cordee.train.worker.holding import Wanted, fetch, found, serve

SECRET, PLACE = "known", 1
SIZES, SLOTS = (4096,), 4


class Host:
    """One of several, with an address of its own."""

    def __init__(self, folder: Path, number: int, secret: str = SECRET) -> None:
        self.name = name_for(folder / str(number))
        self.memory = Memory(memory_of(self.name, PLACE))
        address = f"127.0.0.{number}"
        self.mouth = Mouth(address, secret, partial(serve, self.name))
        self.feed = f"{address}:{self.mouth.port}"

    def has(self, step: int) -> None:
        until(lambda: step in self.memory.steps())

    def close(self) -> None:
        self.mouth.close()
        self.memory.remove()


@pytest.fixture
def three(tmp_path: Path) -> Iterator[list[Host]]:
    made = [Host(tmp_path, number) for number in (1, 2, 3)]
    yield made
    for host in made:
        host.close()


class Keeps:
    """A worker's part of what is kept, and given to others."""

    def __init__(self, host: Host) -> None:
        self.told: list[Told] = []
        self.copying = Copying(SECRET, 0, PLACE, self.told.append)
        self.trail = Trail(host.memory, 0)
        self.trail.before = self.copying.free
        self.state(1)
        self.trail.prepare(SLOTS, SIZES)

    def state(self, step: int) -> None:
        block = Block("model.weight", "uint8", (8,), memoryview(bytes([step] * 8)))
        self.trail.write(About(step, step, "a-model", "{}"), [block])
        self.copying.wrote(self.trail.newest, SLOTS, SIZES)

    def step(self, step: int) -> None:
        room = self.trail.room()
        assert room is not None
        room[0][:] = bytes([step]) * SIZES[0]
        assert self.trail.made(step, [], SIZES)
        self.copying.made(*self.trail.last)


def test_what_was_kept_before_and_what_comes_then_is_on_the_other_host(three: list[Host]) -> None:
    keeps = Keeps(three[0])
    keeps.step(2)
    keeps.copying.to(three[1].feed)
    keeps.step(3)
    three[1].has(3)
    keeps.state(4)
    keeps.step(5)
    three[1].has(5)
    assert three[1].memory.steps() == three[0].memory.steps()
    assert [told.kind for told in keeps.told] == ["copied"]


def test_when_another_host_has_it_the_one_before_forgets_it(three: list[Host]) -> None:
    keeps = Keeps(three[0])
    keeps.copying.to(three[1].feed)
    three[1].has(1)
    keeps.copying.to(three[2].feed)
    keeps.step(2)
    three[2].has(2)
    until(lambda: three[1].memory.steps() == [])
    keeps.copying.to("")
    until(lambda: three[2].memory.steps() == [])


def test_one_that_takes_nothing_keeps_training_waiting_only_once(three: list[Host]) -> None:
    keeps = Keeps(three[0])
    with socket.create_server(("127.0.0.2", 0)) as silent:
        keeps.copying.to(f"127.0.0.2:{silent.getsockname()[1]}")
        for step in range(2, 40):
            keeps.step(step)
    assert [told.kind for told in keeps.told] == ["copy-failed"]
    keeps.state(40)
    keeps.copying.to(three[1].feed)
    three[1].has(40)


def test_one_with_another_secret_gets_nothing(three: list[Host], tmp_path: Path) -> None:
    other = Host(tmp_path, 4, "guessed")
    keeps = Keeps(three[0])
    keeps.copying.to(other.feed)
    keeps.step(2)
    assert found([other.feed, three[0].feed], SECRET, PLACE) == dict.fromkeys((1, 2), three[0].feed)
    keeps.copying.to(three[1].feed)
    three[1].has(2)
    assert other.memory.steps() == []
    other.close()


def test_one_that_has_nothing_finds_and_fetches_what_others_have(three: list[Host]) -> None:
    keeps = Keeps(three[0])
    keeps.step(2)
    keeps.step(3)
    keeps.copying.to(three[1].feed)
    three[1].has(3)
    there = found([three[1].feed, three[2].feed], SECRET, PLACE)
    assert there == dict.fromkeys((1, 2, 3), three[1].feed)
    fetch((there[2], SECRET), Wanted(PLACE, 2), three[2].memory, 9)
    assert three[2].memory.steps() == [1, 2]
