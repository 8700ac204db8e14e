"""The operators of layers with states, of one layer and one micro-batch on one chip.

A sequence that is cut over chips is put together for them, and heads are shared out in its place: where a
chunk begins, it needs the state behind the one before it.
"""

from collections.abc import Iterator

from cordee.plan.model import SelectiveScan, StateSpace
from cordee.plan.work.operators import AttentionCore, Collective, Matmul, Operator, Vector
from cordee.plan.work.shape import HALF, Shape, entering, leaving


def state_space(shape: Shape, layer: StateSpace) -> Iterator[Operator]:
    """Of Mamba-2: two products, the filter, the scan in chunks, and the gate with its norm."""
    tensor, tokens = shape.job.layout.tensor, shape.tokens
    inner, columns = layer.inner / tensor, layer.columns(tensor)
    fused = shape.job.program.fused_norm
    yield from entering(shape, "states")
    yield Matmul("states in", tokens, columns, shape.hidden)
    yield from _exchanged(shape, columns + inner)
    mixed = layer.filtered(tensor)
    yield Vector("filter", tokens * mixed * (2 if fused else 6) * HALF, 1 if fused else 3)
    flops, size = layer.scan_flops(tensor), layer.scan_bytes(tensor)
    # Chunks are whole blocks, so nothing on a diagonal is in vain that is not counted.
    yield AttentionCore("scan", tokens * flops, tokens * size, layer.score_size, shape.job.sequence)
    yield Vector("gates", tokens * inner * (3 if fused else 15) * HALF, 1 if fused else 7)
    yield Matmul("states out", tokens, shape.hidden, inner)
    yield from leaving(shape, "states")


def selective_scan(shape: Shape, layer: SelectiveScan) -> Iterator[Operator]:
    """Of Mamba: the scan is bound by what it reads, and its products only make what it needs."""
    layout, tokens = shape.job.layout, shape.tokens
    inner = layer.inner / layout.tensor
    fused = shape.job.program.fused_norm
    yield from entering(shape, "states")
    yield Matmul("states in", tokens, layer.columns(layout.tensor), shape.hidden)
    yield from _exchanged(shape, 3 * inner)
    yield Vector("filter", tokens * inner * (2 if fused else 6) * HALF, 1 if fused else 3)
    yield Matmul("steps and states", tokens, layer.spread, inner)
    if layout.tensor > 1:
        yield Collective("steps and states", "reduce", tokens * layer.spread * HALF, "tensor")
    yield Matmul("steps", tokens, inner, layer.rank)
    yield Vector("scan", tokens * layer.scan_bytes(layout.tensor), 1)
    yield Matmul("states out", tokens, shape.hidden, inner)
    yield from leaving(shape, "states")


def _exchanged(shape: Shape, numbers: float) -> Iterator[Collective]:
    """Of a token, what travels so that each chip has whole sequences of some heads, and back."""
    if shape.job.layout.context > 1:
        yield Collective("heads exchanged", "exchange", shape.tokens * numbers * HALF, "context")
