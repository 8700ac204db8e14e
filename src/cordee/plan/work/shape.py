"""What every operator of a layer in training is made of, and what surrounds products that chips share."""

from collections.abc import Iterator
from dataclasses import dataclass

from cordee.plan.layout import Job
from cordee.plan.work.operators import Collective, Operator

HALF = 2  # bytes of a number in bf16 or fp16


@dataclass(frozen=True, slots=True)
class Shape:
    """What every operator of a layer is made of."""

    job: Job
    tokens: float
    """Of a micro-batch, on one chip of `context`."""
    shared: float
    """Tokens whose norms this chip does."""
    hidden: int


def entering(shape: Shape, where: str) -> Iterator[Operator]:
    """Before products that are shared out: each chip needs all tokens."""
    layout = shape.job.layout
    if layout.tensor > 1 and layout.sequence_parallel:
        size = shape.tokens * shape.hidden * HALF
        hidden = shape.job.program.overlaps_tensor
        yield Collective(f"{where}: tokens gathered", "gather", size, "tensor", hidden=hidden)


def leaving(shape: Shape, where: str) -> Iterator[Operator]:
    """After them: parts of sums come together."""
    layout = shape.job.layout
    if layout.tensor > 1:
        size = shape.tokens * shape.hidden * HALF
        pattern = "scatter" if layout.sequence_parallel else "reduce"
        hidden = shape.job.program.overlaps_tensor
        yield Collective(f"{where}: sums", pattern, size, "tensor", hidden=hidden)


def seen_tokens(job: Job, window: int | None) -> float:
    """How many keys a query meets on average."""
    whole = job.sequence
    if not job.program.causal:
        return whole
    if window is None or window >= whole:
        return (whole + 1) / 2
    return window - window * (window - 1) / (2 * whole)
