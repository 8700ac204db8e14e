"""What is kept of a part of the model, over a connection from one host to another, and into files of the same form there.

Whoever has it gives a state, and then the steps since. The other side says whether there is room for a state before
it comes, and of each thing when it is there.
"""

import socket
from collections.abc import Sequence
from pathlib import Path

import msgspec

from cordee.train.checkpoint.kept import Kept, Made, Step
from cordee.train.checkpoint.memory import STATES, Memory, free_bytes
from cordee.train.checkpoint.ring import bytes_of
from cordee.train.checkpoint.snapshot import fill
from cordee.train.checkpoint.trail import Trail
from cordee.train.wire import Message, Refused, pack, read_body

COPIES_SHARE = 2
"""What one worker of another host gives takes this part of free shared memory at most."""


class State(Message, tag="state", frozen=True):
    """A state follows, in so many bytes, and then steps that need so many slots; none: there are none."""

    written_ns: int
    bytes: int
    slots: int = 0
    sizes: tuple[int, ...] = ()


class Stepped(Message, tag="stepped", frozen=True):
    """What a step was made with follows."""

    made: Made


class Taken(Message, tag="taken", frozen=True):
    """It is there, or may come."""


class Short(Message, tag="short", frozen=True):
    """It cannot be taken."""

    why: str


_given = msgspec.json.Decoder(State | Stepped)
_heard = msgspec.json.Decoder(Taken | Short)


def give_state(
    to: socket.socket, newest: tuple[Path, int], slots: int = 0, sizes: Sequence[int] = ()
) -> None:
    """Give the state in a file that was written then; so many slots are for steps, with parts of so many bytes.

    Raises `Refused` where the other side has no room, `OSError`, `EOFError`.
    """
    file, written_ns = newest
    with file.open("rb") as opened:
        size = file.stat().st_size
        to.sendall(pack(State(written_ns, size, slots, tuple(sizes))))
        _hear(to)
        to.sendfile(opened, 0, size)
    _hear(to)


def give_step(to: socket.socket, step: Step) -> None:
    """Give what a step was made with. Raises as `give_state`."""
    made, parts = step
    to.sendall(pack(Stepped(made)))
    for part in parts:
        to.sendall(part)
    _hear(to)


def give_kept(to: socket.socket, kept: Kept) -> None:
    """Give a state with all steps since. Raises as `give_state`."""
    sizes = max((made.bytes for made, _ in kept.since), default=())
    give_state(to, (kept.file, kept.snapshot.about.written_ns), len(kept.since), sizes)
    for step in kept.since:
        give_step(to, step)


def take(given: socket.socket, memory: Memory, worker: int) -> None:
    """Write what a worker gives, until it ends. Raises `EOFError` then, `OSError`, `Refused` where there is no room."""
    trail = Trail(memory, worker, copied=True)
    slots = 0
    while True:
        said = _given.decode(read_body(given))
        try:
            if isinstance(said, State):
                _take_state(given, trail, said, anew=said.slots != slots)
                slots = said.slots
                memory.remove_copies(but=worker)
            else:
                _take_step(given, trail, said.made)
        except (OSError, Refused) as error:
            given.sendall(pack(Short(str(error))))
            raise
        given.sendall(pack(Taken()))


def _take_state(given: socket.socket, trail: Trail, said: State, *, anew: bool) -> None:
    """`anew`: steps that follow need another room than before."""
    free, ring = free_bytes(), bytes_of(said.slots, said.sizes) if anew and said.slots else 0
    if STATES * said.bytes + ring > free // COPIES_SHARE:
        raise Refused(f"{free} bytes of shared memory are free there: too few")
    given.sendall(pack(Taken()))
    trail.copy(said.written_ns, said.bytes, given.recv_into)
    if ring:
        trail.prepare(said.slots, said.sizes)


def _take_step(given: socket.socket, trail: Trail, made: Made) -> None:
    parts = trail.room()
    if parts is None or not _fit(made.bytes, parts):
        raise Refused("a step came without a state before it")
    for part, size in zip(parts, made.bytes, strict=False):
        fill(part[:size], given.recv_into)
    if not trail.ends(made):
        raise Refused("a step's settings are too long to be kept")


def _fit(sizes: Sequence[int], parts: Sequence[memoryview]) -> bool:
    pairs = zip(sizes, parts, strict=False)
    return len(sizes) <= len(parts) and all(size <= len(part) for size, part in pairs)


def _hear(to: socket.socket) -> None:
    said = _heard.decode(read_body(to))
    if isinstance(said, Short):
        raise Refused(said.why)
