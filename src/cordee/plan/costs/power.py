"""How fast the cores of a chip run within its power, beside other chips of its generation.

Large matrix products are slowed down so that a chip stays within the power that it is built for; of
two chips with like cores the one with more power for each FLOP runs faster, by as much.
"""

from functools import cache
from statistics import median

from cordee.hw.accelerator import Accelerator, accelerators

LEAST, MOST = 0.85, 1.1


def powered(chip: Accelerator) -> float:
    """Its rate by that of the middle one of its generation."""
    own = _per_flop(chip)
    if own is None:
        return 1.0
    return min(max(own / _middle(chip.generation, own), LEAST), MOST)


@cache
def _middle(generation: str, otherwise: float) -> float:
    known = [_per_flop(one) for one in accelerators().accelerators if one.generation == generation]
    found = [one for one in known if one is not None]
    return median(found) if found else otherwise


def _per_flop(chip: Accelerator) -> float | None:
    rate = chip.flops_per_s.get("bf16")
    return chip.power_w / rate if rate and chip.power_w else None
