"""Rates that stand for those of a chip of which no source gives them; a plan says where it rests on one."""

from collections.abc import Iterator

from cordee.hw.accelerator import Accelerator

MEMORY_BYTES_PER_S = 1e12
"""Of memory: an A100's is twice that."""
LINK_BYTES_PER_S = 16e9
"""Between chips of a node: PCIe 3.0 with 16 lanes."""
NETWORK_BYTES_PER_S = 12.5e9
"""Between nodes: 100 Gbit/s."""


def assumed(chip: Accelerator) -> Iterator[str]:
    """What of a chip is assumed, in words."""
    figures = (
        ("its memory", chip.memory_bytes_per_s, MEMORY_BYTES_PER_S),
        ("links in a node", chip.link_bytes_per_s, LINK_BYTES_PER_S),
        ("the network", chip.network_bytes_per_s, NETWORK_BYTES_PER_S),
    )
    for what, known, usual in figures:
        if known is None:
            yield f"no source gives the rate of {what}: {usual / 1e9:,.3g} GB/s are assumed"
