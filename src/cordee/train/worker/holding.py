"""What a worker keeps for those of other hosts, and gives to them: in the memory of this host, whoever wrote it there."""

import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

import msgspec

from cordee.core.errors import CordeeError
from cordee.train.checkpoint.keep import memory_of
from cordee.train.checkpoint.memory import Memory
from cordee.train.checkpoint.transfer import give_kept, take
from cordee.train.wire import Message, Refused, pack, read_body
from cordee.train.worker.probe import entered

ASK_S = 2.0
"""A host that does not answer in that time has nothing to give."""
GIVE_S = 10.0
"""One from which nothing comes for so long gives nothing more."""
GONE = (OSError, EOFError, Refused, msgspec.DecodeError)


class Giving(Message, tag="giving", frozen=True):
    """A worker gives what it keeps of a part, from now on."""

    place: int
    worker: int


class Forgotten(Message, tag="forgotten", frozen=True):
    """What was given of a part is needed no more."""

    place: int


class Asked(Message, tag="asked", frozen=True):
    """Which steps of a part are there?"""

    place: int


class Wanted(Message, tag="wanted", frozen=True):
    """What was kept of a step of a part is to be given."""

    place: int
    step: int


class There(Message, tag="there", frozen=True):
    """These steps are."""

    steps: tuple[int, ...]


_wishes = msgspec.json.Decoder(Giving | Forgotten | Asked | Wanted)
_answers = msgspec.json.Decoder(There)


def serve(name: str, other: socket.socket) -> None:
    """Do what one of another host wants. `name`: of this host's memory. Raises what a connection does that ends."""
    wish = _wishes.decode(read_body(other))
    memory = Memory(memory_of(name, wish.place))
    match wish:
        case Giving():
            take(other, memory, wish.worker)
        case Forgotten():
            memory.remove_copies()
        case Asked():
            other.sendall(pack(There(tuple(memory.steps()))))
        case Wanted():
            kept = memory.at(wish.step)
            if kept is not None:
                give_kept(other, kept)


@contextmanager
def opened(to: str, secret: str, wish: Message) -> Iterator[socket.socket]:
    """A connection to one of another host, who was told what is wanted. Raises what a connection does that fails."""
    with entered(to, secret, "keep", ASK_S) as connection:
        connection.settimeout(GIVE_S)
        connection.sendall(pack(wish))
        yield connection


def forget(to: str, secret: str, place: int) -> None:
    """What was given to a host is needed no more."""
    with suppress(*GONE), opened(to, secret, Forgotten(place)):
        pass


def found(feeds: Sequence[str], secret: str, place: int) -> dict[int, str]:
    """The steps that other hosts have of a part, and who gives each."""
    answers: dict[str, tuple[int, ...]] = {}

    def ask(to: str) -> None:
        with suppress(*GONE), opened(to, secret, Asked(place)) as other:
            other.settimeout(ASK_S)
            answers[to] = _answers.decode(read_body(other)).steps

    threads = [threading.Thread(target=ask, args=(to,), daemon=True) for to in feeds]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return {step: to for to in sorted(answers) for step in answers[to]}


def fetch(at: tuple[str, str], wanted: Wanted, memory: Memory, worker: int) -> None:
    """Bring what is kept of a step into the memory of this host. `at`: who gives it, and the secret.

    Raises `CordeeError` where it does not come.
    """
    try:
        with opened(*at, wanted) as other, suppress(EOFError):
            take(other, memory, worker)
    except (OSError, CordeeError, msgspec.DecodeError) as error:
        raise CordeeError(f"step {wanted.step} does not come from {at[0]}: {error}") from error
