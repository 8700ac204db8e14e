"""The workers that are connected to a coordinator: what they have said of themselves, and what they are told."""

from collections.abc import Iterable
from dataclasses import replace

from cordee.train.door import Connection
from cordee.train.policy.workers import Limits
from cordee.train.wire import Hello, Member, Message, Ready, Refused


class Crew:
    """All of them."""

    def __init__(self, models: dict[int, str]) -> None:
        """`models`: of each place a digest of names and shapes; none: that of the first who comes."""
        self.models = models
        self.hellos: dict[int, Hello] = {}
        self.took_part: set[int] = set()
        """Those that were members."""
        self._lines: dict[int, Connection] = {}

    @property
    def connected(self) -> list[int]:
        return list(self._lines)

    def enter(self, hello: Hello, limits: Limits, connection: Connection) -> Limits:
        """Let one in that fits the others; gives the limits as the first of them says. Raises `Refused`."""
        if hello.worker in self._lines:
            raise Refused(f"there is a worker {hello.worker} already")
        if not self.models and not self._lines:  # as the program says that comes first
            limits = replace(limits, replica=hello.replica, exact=hello.mode == "exact")
        if hello.replica != limits.replica:
            has = f"worker {hello.worker} has a replica of {hello.replica} workers"
            raise Refused(f"{has}, the job of {limits.replica}")
        if hello.parameters and not limits.workers % limits.replica:
            said = Ready(hello.shards, hello.parameters)
            limits = self.same((hello.worker, 0), said, limits)
        self.hellos[hello.worker], self._lines[hello.worker] = hello, connection
        return limits

    def same(self, at: tuple[int, int], said: Ready, limits: Limits) -> Limits:
        """A worker, at its place, has the shards and the model of the others; gives the limits. Raises `Refused`."""
        number, place = at
        if not limits.shards:
            limits = replace(limits, shards=said.shards)
        if said.shards != limits.shards:
            raise Refused(f"worker {number} has {said.shards} shards, the job {limits.shards}")
        if self.models.setdefault(place, said.parameters) != said.parameters:
            raise Refused(f"worker {number} has another model than the others")
        return limits

    def has(self, number: int, connection: Connection | None = None) -> bool:
        """Whether a worker is connected, by this connection if one is given."""
        line = self._lines.get(number)
        return line is not None and connection in (None, line)

    def forget(self, number: int) -> None:
        """End a worker's connection."""
        line = self._lines.pop(number, None)
        if line is not None:
            line.close()

    def member(self, number: int) -> Member:
        """A worker, as others reach it."""
        return Member(number, self.hellos[number].store, self.hellos[number].feed)

    def say(self, number: int, message: Message) -> None:
        """Tell one of them."""
        line = self._lines.get(number)
        if line is not None:
            line.say(message)

    def cast(self, numbers: Iterable[int], message: Message) -> None:
        """Tell several."""
        for number in numbers:
            self.say(number, message)
