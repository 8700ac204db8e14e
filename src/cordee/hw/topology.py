"""Topologies: how the chips of a kind of machine are linked, from tables or from a user's file.

A file has one `[[topology]]` and a `[[link]]` for every kind of link. A figure is left out where
no source gives it.
"""

import difflib
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import ClassVar

from cordee.core.errors import UsageError
from cordee.core.facts import Fact, only, rows

LONGEST_NAME = 31  # of a topology, where a running machine keeps it
LONGEST_LINK_NAME = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkKind(Fact):
    """One kind of link, each direction by itself."""

    KINDS: ClassVar = ("mesh", "port", "nic", "uplink")
    PER: ClassVar = ("chip", "node")

    name: str
    """What people call it."""
    kind: str
    """"mesh": between every two chips of a node, or of a group of `within`. "port": a chip and a
    switch of its node. "nic": a chip, or a node, and the network between nodes. "uplink": a node
    and what its traffic to other nodes shares."""
    within: int | None = None
    """Chips of a group in which a mesh joins every two; a whole node where it is left out."""
    per: str = "chip"
    """"chip" or "node": whose the nic is."""
    bytes_per_s: float | None = None
    """Peak rate in one direction."""
    latency_s: float | None = None
    """Time that one crossing takes apart from the rate; a path over a switch crosses two ports."""

    def __post_init__(self) -> None:
        _check_name(self.name, LONGEST_LINK_NAME)
        if self.kind not in self.KINDS:
            raise UsageError(f"kind = {self.kind!r}: one of {', '.join(self.KINDS)}")
        if self.per not in self.PER:
            raise UsageError(f"per = {self.per!r}: one of {', '.join(self.PER)}")
        if self.within is not None and (self.kind != "mesh" or not _is_count(self.within)):
            raise UsageError(f"within = {self.within!r}: a number of chips, and only of a mesh")
        for name in ("bytes_per_s", "latency_s"):
            value = getattr(self, name)
            if value is not None and not _is_amount(value, above_0=name == "bytes_per_s"):
                raise UsageError(f"{name} = {value!r}: a positive number")

    @property
    def has_figures(self) -> bool:
        """Whether it is known how fast it is."""
        return self.bytes_per_s is not None and self.latency_s is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Heading(Fact):
    """The one `[[topology]]` of a file."""

    name: str
    """What `--topology` calls it."""
    title: str
    """The same for a reader."""
    chips: list[str] = field(default_factory=list)
    """Kinds of chips that it is built with, as the driver names them; any where it is left out."""
    chips_per_node: int
    """How many chips a node has at most."""
    usual: bool = False
    """Whether its chips are linked so where no topology is named."""

    def __post_init__(self) -> None:
        _check_name(self.name, LONGEST_NAME)
        if not _is_count(self.chips_per_node):
            raise UsageError(f"chips_per_node = {self.chips_per_node!r}: a number of chips")


@dataclass(frozen=True, slots=True, kw_only=True)
class Topology(Heading):
    """How the chips of a machine are linked."""

    links: tuple[LinkKind, ...]
    """Its kinds of links, as its file orders them."""

    def fits(self, soc_name: str) -> bool:
        """Whether machines of it are built with such chips."""
        return not self.chips or soc_name in self.chips

    @property
    def has_figures(self) -> bool:
        """Whether it is known of every link how fast it is."""
        return all(link.has_figures for link in self.links)

    @property
    def joins_nodes(self) -> bool:
        """Whether a chip reaches those of other nodes."""
        return any(link.kind in ("nic", "port") for link in self.links)


def read(path: Traversable) -> Topology:
    """The topology in a file. Raises `UsageError` that names the file and what is wrong in it."""
    only(path, "topology", "link")
    headings = list(rows(path, Heading, table="topology"))
    links = tuple(rows(path, LinkKind, table="link"))
    if len(headings) != 1 or not links:
        raise UsageError(f"{path}: it needs one [[topology]], and a [[link]] at least")
    for kind in ("port", "nic", "uplink"):
        if sum(link.kind == kind for link in links) > 1:
            raise UsageError(f"{path}: more than one link of kind {kind!r}; a path takes one")
    return Topology(**asdict(headings[0]), links=links)


@cache
def topologies() -> tuple[Topology, ...]:
    """Every topology of the tables, by name."""
    tables = (files("cordee.hw") / "topologies").iterdir()
    found = [read(table) for table in tables if table.name.endswith(".toml")]
    return tuple(sorted(found, key=lambda topology: topology.name))


def topology(name: str) -> Topology:
    """The topology of that name, or in the file of that name. Raises `UsageError` otherwise."""
    known = {topology.name: topology for topology in topologies()}
    if found := known.get(name.lower()):
        return found
    if name.endswith(".toml") or Path(name).is_file():
        return read(Path(name))
    close = difflib.get_close_matches(name.lower(), known, n=1, cutoff=0.5)
    hint = f" Did you mean {close[0]}?" if close else ""
    raise UsageError(
        f"{name}: no such topology, and no such file.{hint} There are {', '.join(known)}"
    )


def usual(soc_name: str) -> Topology | None:
    """How such chips are linked where nothing else is said; None where no table says."""
    return next((t for t in topologies() if t.usual and soc_name in t.chips), None)


def unnamed(chips_per_node: int) -> Topology:
    """Links between all chips of a node and a port of each to other nodes, of unknown speed."""
    source = (
        "an assumption, so that traffic can be counted where no table says how chips are linked"
    )
    return Topology(
        name="unnamed",
        title="links of unknown speed",
        chips_per_node=chips_per_node,
        links=tuple(_unnamed(source)),
        source=source,
    )


def _unnamed(source: str) -> Iterator[LinkKind]:
    yield LinkKind(name="link", kind="mesh", source=source)
    yield LinkKind(name="network", kind="nic", source=source)


def _check_name(name: object, longest: int) -> None:
    if not isinstance(name, str) or not 1 <= len(name) <= longest or not name.isascii():
        raise UsageError(f"name = {name!r}: 1 to {longest} characters of ASCII")


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _is_amount(value: object, *, above_0: bool) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return value > 0 if above_0 else value >= 0
