"""A chip as it is not: with links, memory or matrix units twice as fast, to see what its speed hangs on."""

from collections.abc import Iterator
from dataclasses import replace

from cordee.hw.accelerator import Accelerator


def changed(chip: Accelerator) -> Iterator[tuple[str, Accelerator]]:
    """What is another, in words, and the chip with it. What no source gives is not changed."""
    if chip.link_bytes_per_s:
        faster = replace(chip, link_bytes_per_s=2 * chip.link_bytes_per_s)
        yield "links between chips of a node twice as fast", faster
    if chip.network_bytes_per_s:
        faster = replace(chip, network_bytes_per_s=2 * chip.network_bytes_per_s)
        yield "network between nodes twice as fast", faster
    if chip.memory_bytes_per_s:
        faster = replace(chip, memory_bytes_per_s=2 * chip.memory_bytes_per_s)
        yield "memory bandwidth twice", faster
    rates = {dtype: 2 * rate for dtype, rate in chip.flops_per_s.items()}
    units = "cube units" if chip.maker == "Huawei" else "tensor cores"
    yield f"{units} twice as fast", replace(chip, flops_per_s=rates)
    yield "memory twice as large", replace(chip, memory_bytes=2 * chip.memory_bytes)
