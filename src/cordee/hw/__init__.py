"""What the hardware is: facts with sources, and what follows from them."""

from cordee.hw.accelerator import Accelerator, accelerators
from cordee.hw.chip import Chip, chip, chips
from cordee.hw.topology import Topology, topologies, topology
from cordee.hw.wiring import Wiring, wire

__all__ = [
    "Accelerator",
    "Chip",
    "Topology",
    "Wiring",
    "accelerators",
    "chip",
    "chips",
    "topologies",
    "topology",
    "wire",
]
