"""The operators of DeepSeek-V4's attention and of its streams, of one layer and one micro-batch on one chip."""

from collections.abc import Iterator

from cordee.plan.model import CompressedAttention, Layer
from cordee.plan.work.operators import AttentionCore, Collective, Matmul, Operator, Vector
from cordee.plan.work.shape import HALF, Shape, entering, leaving, seen_tokens


def compressed(shape: Shape, layer: CompressedAttention) -> Iterator[Operator]:
    """Short queries and entries on every chip; heads and their groups are shared out."""
    tensor, tokens, size = shape.job.layout.tensor, shape.tokens, layer.head_size
    queries = layer.heads * size / tensor
    yield from entering(shape, "attention")
    yield Matmul("short vectors and entries", tokens, layer.short, shape.hidden)
    yield Matmul("queries", tokens, queries, layer.query_rank)
    yield Vector("entries made, rotary", tokens * (4 * queries + 4 * layer.short) * HALF, 8)
    if layer.index_heads:
        yield from _index(shape, layer)
    if shape.job.layout.context > 1:
        whole = tokens * 2 * size * HALF * shape.job.layout.context
        yield Collective("keys go round", "gather", whole, "context", hidden=True)
    seen = seen_tokens(shape.job, layer.near)
    if layer.rate:
        seen += seen_tokens(shape.job, layer.window) / layer.rate
    moved = tokens * (2 * queries + 2 * size) * HALF
    yield AttentionCore("attention", 4 * tokens * queries * seen, moved, size, seen)
    yield Matmul("attention of groups", tokens, layer.out_rank, queries)
    yield Matmul("attention out", tokens, shape.hidden, layer.out_rows / tensor)
    yield from leaving(shape, "attention")


def _index(shape: Shape, layer: CompressedAttention) -> Iterator[Operator]:
    index = layer.index_heads * layer.index_size
    yield Matmul("index", shape.tokens, index, layer.query_rank)
    entries = seen_tokens(shape.job, None) / layer.rate
    flops = 2 * shape.tokens * index * entries
    yield AttentionCore(
        "index scores", flops, shape.tokens * entries * 4, layer.index_size, entries
    )


def streams(shape: Shape, layer: Layer) -> Iterator[Operator]:
    """Before each part they come together, by weights that are reckoned in fp32; behind it they are mixed."""
    if layer.streams == 1:
        return
    numbers = layer.streams * shape.hidden
    for _ in range(layer.sums):
        yield Matmul("streams weighed", shape.shared, layer.mixed, numbers, is_wide=True)
        yield Vector("streams", shape.shared * (3 * numbers + 2 * shape.hidden) * HALF, 6)
