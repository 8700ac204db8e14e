"""The step of a traced program over time: hosts that start kernels, chips that run them, links between.

A chip begins a kernel when the one before it is through and the host has started it. A collective begins when all
its chips are there; one that the program does not wait for runs beside, and a part of it, as published results
tell, is waited for all the same. Whoever receives a message waits for it.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from cordee.core.errors import UsageError

KINDS = (
    "matrix products", "attention", "vector kernels", "collectives", "waits for others", "host",
    "host copies", "fallbacks to the host",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Kernel:
    """Work of a chip, so and so often."""

    kind: str
    chip_s: float
    host_s: float
    waits: bool
    module: int
    """Where its time is noted."""


@dataclass(frozen=True, slots=True)
class Meeting:
    """A collective: the same key on all its chips."""

    key: tuple[str, int]
    members: int
    """Chips that were traced."""
    seconds: float
    beside: float
    """The part that runs beside other work."""
    host_s: float
    module: int


@dataclass(frozen=True, slots=True)
class Messages:
    """Sent and received together; a key is that of the one who sends."""

    sends: tuple[tuple[tuple[str, int, int, int], float], ...]
    """With seconds on the way."""
    receives: tuple[tuple[str, int, int, int], ...]
    host_s: float
    module: int


@dataclass(frozen=True, slots=True)
class Settled:
    """All collectives that run beside must have ended: the optimizer needs them."""

    module: int


Item = Kernel | Meeting | Messages | Settled


@dataclass(slots=True)
class Clock:
    """Of one rank."""

    host: float = 0.0
    chip: float = 0.0
    link: float = 0.0
    next: int = 0
    arrived: bool = False
    open: list[tuple[tuple[str, int], int, float]] = field(default_factory=list)
    """Collectives beside: key, members, seconds."""
    parts: dict[str, float] = field(default_factory=lambda: dict.fromkeys(KINDS, 0.0))
    modules: dict[int, float] = field(default_factory=lambda: defaultdict(float))
    marks: dict[int, float] = field(default_factory=dict)
    """When the chip came to an item that was asked for."""

    def spend(self, kind: str, seconds: float, module: int) -> None:
        """The chip is at it for so long."""
        self.chip += seconds
        self.parts[kind] += seconds
        self.modules[module] += seconds

    def wait_until(self, kind: str, moment: float, module: int) -> None:
        """The chip has nothing to do until then."""
        if moment > self.chip:
            self.spend(kind, moment - self.chip, module)

    def start(self, host_s: float, module: int) -> None:
        """The host starts something; the chip waits for it where it is through."""
        self.host += host_s
        self.wait_until("host", self.host, module)


@dataclass(frozen=True, slots=True)
class Over:
    """What came of it."""

    seconds: float
    parts: Mapping[str, float]
    """Of the rank that was last; they add up to it."""
    modules: Mapping[int, float]
    marks: Mapping[int, float]


def run(items: Sequence[Sequence[Item]], marks: Sequence[int] = ()) -> Over:
    """Let every rank go through its items; `marks` are indexes of the first one's whose moments are wanted.

    Raises `UsageError` where ranks wait for one another for ever: their trace is not whole.
    """
    table = _Table()
    items = [[*own, Settled(-1)] for own in items]
    clocks = [Clock() for _ in items]
    wanted = frozenset(marks)
    moved = True
    while moved:
        moved = False
        for number, (own, clock) in enumerate(zip(items, clocks, strict=True)):
            before = clock.next
            _advance(own, clock, table, wanted if number == 0 else frozenset())
            moved = moved or clock.next > before or table.changed()
    stuck = [
        i for i, (own, clock) in enumerate(zip(items, clocks, strict=True)) if clock.next < len(own)
    ]
    if stuck:
        raise UsageError(
            f"rank {stuck[0]} of the trace waits for a word of another that never comes: "
            "was every rank traced to its end?"
        )
    last = max(clocks, key=lambda clock: clock.chip)
    return Over(last.chip, last.parts, last.modules, clocks[0].marks)


class _Table:
    """What ranks have told each other so far."""

    def __init__(self) -> None:
        self.meetings: dict[tuple[str, int], list[float]] = defaultdict(list)
        self.sent: dict[tuple[str, int, int, int], float] = {}
        self._seen = 0
        self._told = 0

    def told(self) -> None:
        """Somebody said something new."""
        self._told += 1

    def changed(self) -> bool:
        """Whether that was so since it was asked last."""
        changed, self._seen = self._told > self._seen, self._told
        return changed


def _advance(items: Sequence[Item], clock: Clock, table: _Table, marks: frozenset[int]) -> None:
    """As far as it comes without another's word."""
    while clock.next < len(items):
        item = items[clock.next]
        if clock.next in marks and not clock.arrived:
            clock.marks[clock.next] = clock.chip
        if isinstance(item, Kernel):
            clock.start(item.host_s, item.module)
            clock.spend(item.kind, item.chip_s, item.module)
            if item.waits:
                clock.host = max(clock.host, clock.chip)
        elif isinstance(item, Meeting):
            if not _met(item, clock, table):
                return
        elif isinstance(item, Settled):
            if not _settled(item, clock, table):
                return
        elif not _exchanged(item, clock, table):
            return
        clock.next += 1
        clock.arrived = False


def _met(item: Meeting, clock: Clock, table: _Table) -> bool:
    there = table.meetings[item.key]
    if not clock.arrived:
        clock.start(item.host_s, item.module)
        there.append(max(clock.chip, clock.link))
        clock.arrived = True
        table.told()
    if item.beside:
        clock.link = max(clock.chip, clock.link) + item.seconds
        clock.open.append((item.key, item.members, item.seconds))
        clock.spend("collectives", item.seconds * (1 - item.beside), item.module)
        return True
    if len(there) < item.members:
        return False
    clock.wait_until("waits for others", max(there), item.module)
    clock.wait_until("collectives", max(there) + item.seconds, item.module)
    clock.link = clock.chip
    return True


def _settled(item: Settled, clock: Clock, table: _Table) -> bool:
    for key, members, seconds in clock.open:
        there = table.meetings[key]
        if len(there) < members:
            return False
        clock.link = max(clock.link, max(there) + seconds)
    clock.open.clear()
    clock.wait_until("collectives", clock.link, item.module)
    return True


def _exchanged(item: Messages, clock: Clock, table: _Table) -> bool:
    if not clock.arrived:
        clock.start(item.host_s, item.module)
        for key, seconds in item.sends:
            clock.link = max(clock.link, clock.chip) + seconds
            table.sent[key] = clock.link
        clock.arrived = True
        table.told()
    if not all(key in table.sent for key in item.receives):
        return False
    for key in item.receives:
        clock.wait_until("waits for others", table.sent[key], item.module)
    return True
