"""What the faults that last do to chips and links: decided here, done elsewhere."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from cordee.emulator.faults.answers import answers
from cordee.emulator.faults.fault import (
    BadMemory,
    ChipFault,
    ChipLost,
    Fault,
    Hang,
    HostLost,
    LinkDown,
    LinkFault,
    LinkFlapping,
    LinkLossy,
    LinkSlow,
    Partition,
    Slow,
    WrongResult,
)

Path = Callable[[int, int], Sequence[int]]
"""Numbers of the links from one chip to another."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChipEffect:
    """What is wrong with a chip; the defaults are a healthy one."""

    health: int = 0
    """The code that it answers with."""
    hung: int = 0
    """Whether it does not end work."""
    slow_percent: int = 0
    """How much of their time operators take; 0 is 100."""
    flip: int = 0
    """1 + the bit of results that is wrong."""
    flip_operator: bytes = b""
    """Whose results."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkEffect:
    """What is wrong with one direction of a link; the defaults are a whole one."""

    down: int = 0
    """Whether nothing passes."""
    slow_percent: int = 0
    """How much of their time transfers take; 0 is 100."""
    loss_per_million: int = 0
    """Packets lost."""
    flap_up_ms: int = 0
    """How long it is up each time, where it comes and goes."""
    flap_down_ms: int = 0
    """How long it is then down."""


def chips_of(fault: Fault, nodes: Sequence[int]) -> list[int]:
    """The chips that a fault changes; `nodes` says where each chip is."""
    if isinstance(fault, ChipFault):
        return [fault.chip]
    if isinstance(fault, HostLost):
        return [chip for chip, node in enumerate(nodes) if node == fault.node]
    return []


def step_chip(fault: Fault, nodes: Sequence[int]) -> int:
    """The chip whose steps `at_step` counts: of several, the first."""
    if isinstance(fault, LinkFault):
        return fault.between[0]
    if isinstance(fault, Partition):
        return nodes.index(fault.nodes[0])
    return chips_of(fault, nodes)[0]


def links_of(fault: Fault, nodes: Sequence[int], path: Path) -> set[int]:
    """The links that a fault changes."""
    if isinstance(fault, LinkFault):
        one, other = fault.between
        return {*path(one, other), *path(other, one)}
    if isinstance(fault, Partition):
        return _cut(fault.nodes, nodes, path)
    return set()


def _cut(parted: tuple[int, int], nodes: Sequence[int], path: Path) -> set[int]:
    """Links between two nodes, without those that serve chips of one node among themselves."""
    pairs = [(a, b) for a in range(len(nodes)) for b in range(len(nodes)) if a != b]
    across = {link for a, b in pairs if {nodes[a], nodes[b]} == set(parted) for link in path(a, b)}
    within = {link for a, b in pairs if nodes[a] == nodes[b] for link in path(a, b)}
    return across - within


def chip_effect(faults: Iterable[Fault]) -> ChipEffect:
    """All that faults of one chip do to it; of two of a kind the later, of two codes the worse."""
    wanted: dict[str, int | bytes] = {}
    lost = 0
    for fault in faults:
        if isinstance(fault, ChipLost | HostLost):
            lost = answers()[fault.kind].code
        elif isinstance(fault, BadMemory):
            wanted["health"] = answers()[f"memory {fault.report}"].code
        elif isinstance(fault, Hang):
            wanted["hung"] = 1
        elif isinstance(fault, Slow):
            wanted["slow_percent"] = round(100 * fault.factor)
        elif isinstance(fault, WrongResult):
            wanted |= {"flip": 1 + fault.bit, "flip_operator": fault.operator.encode()}
    if lost:
        wanted["health"] = lost
    return ChipEffect(**wanted)  # type: ignore[arg-type]


def link_effect(faults: Iterable[Fault]) -> LinkEffect:
    """All that faults of one link do to it; of two of a kind the later."""
    wanted: dict[str, int] = {}
    for fault in faults:
        if isinstance(fault, LinkDown | Partition):
            wanted["down"] = 1
        elif isinstance(fault, LinkSlow):
            wanted["slow_percent"] = round(100 * fault.factor)
        elif isinstance(fault, LinkLossy):
            wanted["loss_per_million"] = round(1e6 * fault.fraction)
        elif isinstance(fault, LinkFlapping):
            wanted["flap_up_ms"] = max(1, round(1e3 * fault.up_s))
            wanted["flap_down_ms"] = max(1, round(1e3 * fault.down_s))
    return LinkEffect(**wanted)
