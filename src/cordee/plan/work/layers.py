"""The operators of one layer on one chip, forward and backward, for one micro-batch.

Sizes follow Megatron-LM: Narayanan et al., arxiv.org/abs/2104.04473, section 2.3, for tensor
parallelism; Korthikanti et al., arxiv.org/abs/2205.05198, section 4.2, for sequence parallelism.
Traffic of vector kernels is counted in numbers of 2 bytes that each kernel reads and writes.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from cordee.plan.layout import Job
from cordee.plan.model import (
    Attention,
    CompressedAttention,
    Experts,
    GroupedAttention,
    LatentAttention,
    Layer,
    LinearAttention,
    Mlp,
    SelectiveScan,
    StateSpace,
)
from cordee.plan.work.compressed import compressed, streams
from cordee.plan.work.operators import AttentionCore, Collective, Matmul, Operator, Vector
from cordee.plan.work.shape import HALF, Shape, entering, leaving, seen_tokens
from cordee.plan.work.states import selective_scan, state_space

LookingBack = GroupedAttention | LatentAttention | LinearAttention
SCORES = ("scores", "weighted sums")
"""Products without weights."""


@dataclass(frozen=True, slots=True)
class Pass:
    """Forward and backward of something."""

    forward: tuple[Operator, ...]
    backward: tuple[Operator, ...]


def layer_pass(job: Job, layer: Layer) -> Pass:
    """Everything that a chip does for one layer and one micro-batch."""
    operators = forward_operators(job, layer)
    return Pass(tuple(operators), tuple(_backward(job, operators)))


def forward_operators(job: Job, layer: Layer) -> list[Operator]:
    """Of its forward pass."""
    layout = job.layout
    tokens = layout.micro_batch * job.sequence / layout.context
    split = layout.tensor if layout.sequence_parallel else 1
    shape = Shape(job, tokens, tokens / split, job.model.hidden)
    mixing = (operator for one in layer.mixers for operator in _mixing(shape, one))
    return [
        *mixing,
        *_mlp(shape, layer),
        *_injected(shape, layer),
        *_norms(shape, layer),
        *streams(shape, layer),
    ]


def _mixing(shape: Shape, attention: Attention) -> Iterator[Operator]:
    """What makes tokens look at others."""
    if isinstance(attention, StateSpace):
        yield from state_space(shape, attention)
    elif isinstance(attention, CompressedAttention):
        yield from compressed(shape, attention)
    elif isinstance(attention, SelectiveScan):
        yield from selective_scan(shape, attention)
    else:
        yield from _attention(shape, attention)


def _attention(shape: Shape, attention: LookingBack) -> Iterator[Operator]:
    tensor = shape.job.layout.tensor
    yield from entering(shape, "attention")
    if isinstance(attention, LatentAttention):
        yield from _latent_products(shape, attention)
    else:
        columns = attention.columns(tensor)
        yield Matmul("queries, keys, values", shape.tokens, columns, shape.hidden)
    if isinstance(attention, GroupedAttention) and attention.index_heads:
        index = (attention.index_heads + 1) * attention.index_size
        yield Matmul("index", shape.tokens, index, shape.hidden)
    yield from _core(shape, attention)
    rows = attention.heads * attention.value_size / tensor
    yield Matmul("attention out", shape.tokens, shape.hidden, rows)
    yield from leaving(shape, "attention")


def _latent_products(shape: Shape, attention: LatentAttention) -> Iterator[Operator]:
    tensor, tokens = shape.job.layout.tensor, shape.tokens
    heads = attention.heads / tensor
    short = attention.kv_rank + attention.rope_size
    queries = heads * attention.score_size
    if attention.query_rank:
        yield Matmul("short vectors", tokens, attention.query_rank + short, shape.hidden)
        yield Matmul("queries", tokens, queries, attention.query_rank)
    else:
        yield Matmul("queries and short vector", tokens, queries + short, shape.hidden)
    made = heads * (attention.plain_size + attention.value_size)
    yield Matmul("keys and values", tokens, made, attention.kv_rank)
    # Norms of the short vectors; where nothing is fused, heads are put together from their two parts.
    moved = 2.0 * (attention.kv_rank + (attention.query_rank or 0))
    moved += 0 if shape.job.program.fused_norm else 4 * queries + 2 * made
    yield Vector("short vectors spread", tokens * moved * HALF, 4)


def _core(shape: Shape, attention: LookingBack) -> Iterator[Operator]:
    job, layout = shape.job, shape.job.layout
    heads = attention.heads / layout.tensor
    keys = max(attention.kv_heads / layout.tensor, 1)
    fused = job.program.fused_norm
    turned = heads * attention.score_size + keys * attention.score_size
    moved = 2 * turned + 2 * (turned + keys * attention.value_size)
    if isinstance(attention, LatentAttention) and fused:
        # One kernel turns what carries the position, and writes keys and values where they belong.
        made = heads * (attention.plain_size + attention.value_size)
        moved = 2 * heads * attention.rope_size + made
        moved += keys * (attention.score_size + attention.value_size)
    yield Vector("rotary, turned round", shape.tokens * moved * HALF, 3 if fused else 8)
    yield from _context(shape, attention, keys)
    seen = seen_tokens(job, attention.window)
    scores = layout.micro_batch * heads * (job.sequence / layout.context) * seen
    flops = 2 * scores * (attention.score_size + attention.value_size)
    ends = heads * (attention.score_size + attention.value_size)
    size_bytes = shape.tokens * (ends + 2 * keys * attention.score_size) * HALF
    if job.program.fused_attention:
        yield AttentionCore("attention", flops, size_bytes, attention.score_size, seen)
        return
    # Unfused: every score is reckoned, written, read by mask, softmax and dropout, and read again.
    scores = layout.micro_batch * heads * (job.sequence / layout.context) * job.sequence
    count = int(layout.micro_batch * heads) or 1
    long = job.sequence / layout.context
    yield Matmul("scores", long, job.sequence, attention.score_size, count)
    yield Vector("softmax", scores * 12, 3)
    yield Matmul("weighted sums", long, attention.value_size, job.sequence, count)


def _context(shape: Shape, attention: LookingBack, keys: float) -> Iterator[Operator]:
    """Keys and values of the whole sequence come by, or heads are exchanged."""
    layout = shape.job.layout
    if layout.context == 1:
        return
    size = shape.tokens * keys * (attention.score_size + attention.value_size) * HALF
    if layout.context_kind == "ring":
        yield Collective("keys go round", "gather", size * layout.context, "context", hidden=True)
        # What each part of the keys gives is added up in fp32.
        given = shape.tokens * attention.heads / layout.tensor * attention.value_size
        yield Vector("parts of keys", given * 12 * (layout.context - 1), 3 * (layout.context - 1))
        return
    heads = attention.heads / layout.tensor
    whole = size + shape.tokens * heads * (attention.score_size + attention.value_size) * HALF
    yield Collective("heads exchanged", "exchange", whole, "context")


def _mlp(shape: Shape, layer: Layer) -> Iterator[Operator]:
    if layer.mlp is None:
        return
    if isinstance(layer.mlp, Experts):
        yield from _experts(shape, layer.mlp)
        return
    yield from entering(shape, "mlp")
    yield from _products(shape, layer.mlp, "mlp")
    yield from leaving(shape, "mlp")


def _injected(shape: Shape, layer: Layer) -> Iterator[Operator]:
    """What a token's own row of a table adds, weighed by what the layer gives."""
    if layer.injected:
        yield Matmul("injected in", shape.shared, layer.injected, shape.hidden)
        yield Vector("injected", shape.shared * layer.injected * 3 * HALF, 2)
        yield Matmul("injected out", shape.shared, shape.hidden, layer.injected)


def _products(shape: Shape, mlp: Mlp, name: str) -> Iterator[Operator]:
    tensor, tokens = shape.job.layout.tensor, shape.tokens
    size = mlp.size / tensor
    yield Matmul(f"{name} in", tokens, mlp.in_size / tensor, shape.hidden)
    yield _activation(shape, mlp, tokens * size, name)
    yield Matmul(f"{name} out", tokens, shape.hidden, size)


def _activation(shape: Shape, mlp: Mlp, numbers: float, name: str) -> Vector:
    fused = shape.job.program.fused_activation
    touched = (3 if fused else 7) if mlp.gated else (2 if fused else 6)
    return Vector(f"{name} activation", numbers * touched * HALF, 1 if fused else 3)


def _experts(shape: Shape, experts: Experts) -> Iterator[Operator]:
    layout = shape.job.layout
    spread = min(layout.expert, experts.count)
    # Within an expert, its matrices are shared out over `tensor` where experts are not spread.
    inner = 1 if spread > 1 else layout.tensor
    tokens = shape.tokens / layout.tensor if inner == 1 else shape.tokens
    yield Matmul("router", tokens, experts.count, shape.hidden, is_wide=True)
    yield Vector("router", tokens * experts.count * 24, 16)
    width = experts.width(shape.hidden)
    if experts.latent:
        yield Matmul("experts' vectors", tokens, width, shape.hidden)
    sent = tokens * experts.chosen * width * HALF
    if inner > 1:
        yield from entering(shape, "experts")
    fused = spread > 1 and shape.job.program.dispatch == "fused"
    if not fused:
        yield Vector("tokens sorted", 2 * sent, 8)
    if spread > 1:
        yield _exchange(shape, experts, sent, "tokens to experts")
    yield from _grouped(shape, experts, tokens, inner)
    if spread > 1:
        yield _exchange(shape, experts, sent, "tokens back")
    # One token is made of what its experts give.
    yield Vector("tokens put back", (1 if fused else 3) * sent, 1 if fused else 4)
    if experts.latent:
        yield Matmul("experts' sums", tokens, shape.hidden, width)
    if inner > 1:
        yield from leaving(shape, "experts")
    if experts.shared:
        yield from _products(shape, experts.shared, "shared")


def _grouped(shape: Shape, experts: Experts, tokens: float, inner: int) -> Iterator[Operator]:
    """The products of the experts that a chip has, one after another."""
    here = experts.count // min(shape.job.layout.expert, experts.count)
    each = tokens * experts.chosen / here
    size = experts.expert.size / inner
    columns, hidden = experts.expert.in_size / inner, experts.width(shape.hidden)
    yield Matmul("experts in", each, columns, hidden, here, is_expert=True)
    yield _activation(shape, experts.expert, each * here * size, "experts")
    yield Matmul("experts out", each, hidden, size, here, is_expert=True)
    if experts.expert.biases:
        # Each expert's bias is weighted, added in fp32 and put back among the others'.
        yield Vector("experts' biases", each * here * hidden * 28, 2 * here + 2)


def _exchange(shape: Shape, experts: Experts, sent: float, name: str) -> Collective:
    program = shape.job.program
    fused = program.dispatch == "fused"
    hidden, copies = program.overlaps_experts, experts.chosen if fused else 1
    return Collective(name, "exchange", sent, "expert", hidden, copies, once=fused)


def _norms(shape: Shape, layer: Layer) -> Iterator[Operator]:
    # A norm reads and writes once when fused; else casts, squares, means and products do, in fp32.
    fused = shape.job.program.fused_norm
    numbers = shape.shared * shape.hidden
    yield Vector(
        "norms",
        layer.norms * numbers * (2 if fused else 14) * HALF,
        layer.norms * (1 if fused else 6),
    )
    yield Vector("residual sums", layer.sums * 3 * numbers * HALF, layer.sums)


def _backward(job: Job, operators: list[Operator]) -> Iterator[Operator]:
    """Two products for each, attention's 2.5 times the work, what was gathered is summed up."""
    adds = added(job)
    for operator in operators:
        if isinstance(operator, Matmul):
            yield from matmul_backward(operator, adds, job.program.trains_all)
        elif isinstance(operator, AttentionCore):
            flops, size = 2.5 * operator.flops, 3 * operator.size_bytes
            yield replace(operator, flops=flops, size_bytes=size, backward=True)
        elif isinstance(operator, Vector):
            yield Vector(operator.name, 1.6 * operator.size_bytes, operator.kernels)
        else:
            yield from _collective_backward(job, operator)


def weight_gradients(job: Job, operators: Iterable[Operator]) -> tuple[Operator, ...]:
    """Of the backward pass of these, that for which no other layer waits.

    It is the second product of each, and what came into it where that is gathered again.
    """
    adds = added(job)
    found: list[Operator] = []
    for operator in operators:
        if isinstance(operator, Matmul) and operator.name not in SCORES:
            found += list(matmul_backward(operator, adds, job.program.trains_all))[1:]
        elif isinstance(operator, Collective):
            found += list(_collective_backward(job, operator))[1:]
    return tuple(found)


def added(job: Job) -> float:
    """Bytes read and written of a weight whose gradient is added to what is there."""
    return 2 * job.program.gradient_bytes if job.layout.zero < 3 else HALF


def _collective_backward(job: Job, operator: Collective) -> Iterator[Collective]:
    turned = {"gather": "scatter", "scatter": "gather"}.get(operator.pattern, operator.pattern)
    size, group, hidden = operator.size_bytes, operator.group, operator.hidden
    if operator.group == "context" and operator.pattern == "gather":
        yield Collective(operator.name, "gather", 2 * size, group, hidden=hidden)
        return
    yield Collective(operator.name, turned, size, group, hidden, operator.copies, operator.once)
    if operator.pattern == "gather" and group == "tensor" and job.program.trains_all:
        # Sequence parallelism gathers the input again for the gradient of the weights, beside work.
        yield Collective(operator.name, "gather", size, group, hidden=True)


def matmul_backward(product: Matmul, adds: float, trains: bool) -> Iterator[Matmul]:
    """The gradient of what came in, and of the weights, which is added to what is there."""
    m, n, k = product.m, product.n, product.k
    yield replace(product, n=k, k=n)
    core = product.name in SCORES
    if not trains and not core:
        return
    added = n * k * product.count * adds
    # The gradient of what came out was cast for the first, turned round too.
    yield replace(product, m=n, n=k, k=m, added_bytes=0 if core else added, casts=False)
