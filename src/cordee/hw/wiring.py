"""Which links a machine of a topology has, and which of them a transfer between two chips takes.

A path is one link of a mesh; or a port out and a port in over the switch of a node; or, between
nodes, out of a chip, over what its node and the other's share, and in: four links at most.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from cordee.core.errors import UsageError
from cordee.hw.topology import LinkKind, Topology


@dataclass(frozen=True, slots=True)
class Link:
    """One direction of a link. `start` and `end` are a chip's number, "node3", or a fabric's name."""

    kind: LinkKind
    start: str
    end: str

    @property
    def name(self) -> str:
        """Its name in a machine, such as "HCCS 0-1"."""
        return f"{self.kind.name} {self.start}-{self.end}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wiring:
    """The links of one machine."""

    nodes: tuple[int, ...]
    """The node of each chip."""
    links: tuple[Link, ...]
    """Every link that some path takes."""
    paths: Mapping[tuple[int, int], tuple[int, ...]]
    """From chip to chip, the numbers of the links in between, in order."""


def wire(topology: Topology, chips: int, nodes: int = 1) -> Wiring:
    """The links of `chips` chips in `nodes` nodes, as many in each.

    Raises `UsageError` where the chips do not divide over the nodes, where a node has no room for
    its share, or where no link joins two of them.
    """
    _check(topology, chips, nodes)
    per_node = chips // nodes
    routes = {
        (a, b): tuple(_route(topology, a, b, per_node))
        for a in range(chips)
        for b in range(chips)
        if a != b
    }
    taken = {link for route in routes.values() for link in route}
    links = sorted(taken, key=lambda link: _order(topology, link))
    numbers = {link: number for number, link in enumerate(links)}
    return Wiring(
        nodes=tuple(chip // per_node for chip in range(chips)),
        links=tuple(links),
        paths={ends: tuple(numbers[link] for link in route) for ends, route in routes.items()},
    )


def _check(topology: Topology, chips: int, nodes: int) -> None:
    if nodes < 1 or chips % nodes:
        raise UsageError(
            f"{chips} chips do not divide over {nodes} nodes: give a multiple of {max(nodes, 1)}"
        )
    if chips // nodes > topology.chips_per_node:
        needed = next(n for n in range(nodes, chips + 1) if _has_room(topology, chips, n))
        raise UsageError(
            f"{topology.name}: a node has {topology.chips_per_node} chips, not {chips // nodes}: "
            f"{chips} chips need {needed} nodes"
        )
    if nodes > 1 and not topology.joins_nodes:
        raise UsageError(f"{topology.name}: no link leaves a node: add one of kind 'nic'")


def _has_room(topology: Topology, chips: int, nodes: int) -> bool:
    return chips % nodes == 0 and chips // nodes <= topology.chips_per_node


def _route(topology: Topology, a: int, b: int, per_node: int) -> Iterator[Link]:
    if a // per_node != b // per_node:
        yield from _between_nodes(topology, a, b, per_node)
        return
    mesh = _mesh(topology, a % per_node, b % per_node)
    port = _one(topology, "port")
    if mesh:
        yield Link(mesh, f"{a}", f"{b}")
    elif port:
        yield Link(port, f"{a}", "switch")
        yield Link(port, "switch", f"{b}")
    else:
        raise UsageError(
            f"{topology.name}: no link joins chips {a} and {b} of a node: add "
            "one of kind 'port', or leave `within` out of a mesh"
        )


def _mesh(topology: Topology, a: int, b: int) -> LinkKind | None:
    """The mesh of the smallest group that holds both; `a` and `b` count within their node."""
    sizes = {
        link.within or topology.chips_per_node: link
        for link in topology.links
        if link.kind == "mesh"
    }
    return next((sizes[size] for size in sorted(sizes) if a // size == b // size), None)


def _between_nodes(topology: Topology, a: int, b: int, per_node: int) -> Iterator[Link]:
    start, end = f"node{a // per_node}", f"node{b // per_node}"
    uplink = _one(topology, "uplink")
    way = _one(topology, "nic") or _one(topology, "port")
    assert way, "joins_nodes says that there is one"
    of_node = way.kind == "nic" and way.per == "node"
    # Where there is no network, the switches of the nodes are one fabric.
    fabric = "network" if way.kind == "nic" else "switch"
    yield Link(way, start if of_node else f"{a}", fabric)
    if uplink:
        yield Link(uplink, start, "spine")
        yield Link(uplink, "spine", end)
    yield Link(way, fabric, end if of_node else f"{b}")


def _one(topology: Topology, kind: str) -> LinkKind | None:
    return next((link for link in topology.links if link.kind == kind), None)


def _order(topology: Topology, link: Link) -> tuple[int, list[str | int]]:
    """By kind as the topology orders them, then by name, in which numbers count as numbers."""
    parts = re.split(r"(\d+)", link.name)
    natural = [int(part) if part.isdigit() else part for part in parts]
    return topology.links.index(link.kind), natural
