"""What kernels of fused attention reach on a generation of chips, before any calibration."""

from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from cordee.core.facts import Fact, rows


@dataclass(frozen=True, slots=True, kw_only=True)
class Kernel(Fact):
    """A kernel on a generation of chips."""

    kernel: str
    generation: str
    usual: bool = False
    """Whether programs of today use it there."""
    forward: float
    """Of the peak."""
    backward: float


@cache
def kernels() -> tuple[Kernel, ...]:
    """Every kernel that is known."""
    return tuple(rows(files("cordee.plan.costs") / "attention.toml", Kernel))


def kernel_of(generation: str, name: str = "") -> Kernel:
    """That of this name, or the usual one; of a generation without any, that of the nearest known."""
    theirs = [one for one in kernels() if one.generation == generation]
    named = [one for one in theirs if one.kernel == name]
    usual = [one for one in theirs or kernels() if one.usual]
    return (named or usual)[0]
