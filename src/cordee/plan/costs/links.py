"""Rates and waits of collectives between chips of a group, wherever the layout puts them.

Alpha-beta with rings: Thakur, Rabenseifner and Gropp, Optimization of Collective Communication
Operations in MPICH (2005), section 4. Where links go from chip to chip, a group of a few chips has
only the links between them.
"""

from dataclasses import dataclass

from cordee.hw.accelerator import Accelerator
from cordee.plan.costs.assumed import LINK_BYTES_PER_S, NETWORK_BYTES_PER_S
from cordee.plan.work.operators import Collective

LATENCY_S = 8e-6  # of a collective's start, within a node: ascend-microbench, HCCL and NCCL alike
HOP_S = 4e-6  # of each further node in a ring


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Chips that talk: how many, and how many of them are in one node."""

    size: int
    within: int
    """Chips of the group in a node."""
    per_node: int = 1
    """Groups like it that share a node's network."""

    @property
    def nodes(self) -> int:
        """Over how many nodes it goes."""
        return -(-self.size // self.within)


@dataclass(frozen=True, slots=True, kw_only=True)
class Links:
    """Links of a chip, with the part of their peaks that is reached."""

    chip: Accelerator
    link: float
    network: float
    latency_s: float = LATENCY_S
    """Of a small collective."""
    member_s: float = 0.0
    """That it takes longer for each further chip in a node."""

    def seconds(self, collective: Collective, group: Group) -> float:
        """Of one collective over that group."""
        if group.size <= 1:
            return 0.0
        if collective.pattern == "send":
            return collective.size_bytes / self._send_rate(group) + self.latency_s
        beta = max(self.moving_s(collective, group))
        turns = turns_of(collective)
        waits = self.latency_s + HOP_S * (group.nodes - 1) + self.member_s * (group.within - 1)
        return turns * (beta + waits)

    def moving_s(self, collective: Collective, group: Group) -> tuple[float, float]:
        """Seconds of what moves within nodes and of what moves between them, in one turn."""
        moved = collective.size_bytes * (group.size - 1) / group.size
        within = moved / self.within_rate(group)
        if collective.once:
            within *= _distinct(collective.copies, group.size)
        if group.nodes == 1:
            return within, 0.0
        outside = collective.size_bytes * (group.nodes - 1) / group.nodes
        outside *= _distinct(collective.copies, group.nodes)
        return within, outside / self.between_rate(collective, group)

    def within_rate(self, group: Group) -> float:
        """Bytes a second of a chip to the others of its node."""
        rate = self.chip.link_bytes_per_s or LINK_BYTES_PER_S
        if self.chip.link_peers:
            rate *= min(group.within - 1, self.chip.link_peers) / self.chip.link_peers or 1
        return rate * self.link

    def between_rate(self, collective: Collective, group: Group) -> float:
        """Bytes a second, over the networks of all its chips of a node for what all need."""
        rate = self.chip.network_bytes_per_s or NETWORK_BYTES_PER_S
        if collective.pattern == "exchange":
            return rate * self.network
        return rate * group.within * self.network

    def _send_rate(self, group: Group) -> float:
        if group.within > 1:
            rate = self.chip.link_bytes_per_s or LINK_BYTES_PER_S
            return rate / (self.chip.link_peers or 1) * self.link
        return (self.chip.network_bytes_per_s or NETWORK_BYTES_PER_S) * self.network


def turns_of(collective: Collective) -> int:
    """A sum for all is one that is scattered, and then gathered."""
    return 2 if collective.pattern == "reduce" else 1


def _distinct(copies: int, nodes: int) -> float:
    """What is left of `copies` to experts anywhere when each node, or chip, gets one at most."""
    return nodes * (1 - (1 - 1 / nodes) ** copies) / copies
