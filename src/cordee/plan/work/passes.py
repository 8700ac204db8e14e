"""The operators of one pass of an engine, on one chip: prompts that are read, tokens that are given.

Latent attention is reckoned over the short vectors where tokens are given (DeepSeek-V2,
arxiv.org/abs/2405.04434, section 2.1.2: matrices are absorbed), and over keys and values where
prompts are read. Of experts, a pass reads those that its tokens meet.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from cordee.plan.deployment import Engine, Precision
from cordee.plan.model import (
    Attention,
    CompressedAttention,
    Experts,
    GroupedAttention,
    LatentAttention,
    Layer,
    LinearAttention,
    Mlp,
    Model,
    SelectiveScan,
    StateSpace,
)
from cordee.plan.work.operators import Collective, Vector

HALF = 2  # bytes of a number that is not kept


@dataclass(frozen=True, slots=True)
class Product:
    """A product with weights: of `m` rows, or of `count` experts, each with its part of the rows."""

    name: str
    m: float
    n: float
    k: float
    weight_bytes: float
    """Read from memory, all that are met."""
    count: float = 1.0
    is_expert: bool = False
    is_plain: bool = False
    """Whether it is in 16 bits, whatever the others are in."""
    is_narrow: bool = False
    """Whether its rows come in as few bits as it has."""

    @property
    def flops(self) -> float:
        return 2.0 * self.m * self.n * self.k

    @property
    def other_bytes(self) -> float:
        """What comes in and goes out."""
        return self.m * (self.n + self.k) * HALF


@dataclass(frozen=True, slots=True)
class Reading:
    """Attention over what is kept, for one token given: linear in the tokens that are seen."""

    flops: float
    """For a token that is seen."""
    size_bytes: float
    """Read for a token that is seen."""
    window: int | None
    index_bytes: float = 0.0
    """Read of every token, seen or not, to choose which are seen."""
    state_bytes: float = 0.0
    """Read and written for a token given, whatever is seen."""


@dataclass(frozen=True, slots=True)
class Scoring:
    """Attention within a prompt: linear in pairs of tokens."""

    flops: float
    """For a pair."""
    window: int | None
    index_flops: float = 0.0
    """For a pair, seen or not, to choose which are seen; on every chip, as its heads are not shared out."""
    latent_flops: float = 0.0
    """For a pair over the short vectors, once prompts are longer than what is seen; 0: never so."""
    token_flops: float = 0.0
    """For a token, whatever it sees."""
    token_bytes: float = 0.0
    """Read and written for a token, where that may take longer."""


PassOperator = Product | Vector | Collective


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What every operator of a pass is made of."""

    model: Model
    engine: Engine
    precision: Precision
    tokens: float
    """Of the pass, on the group of `tensor` chips that has most."""
    all_tokens: float
    """Of all groups of the stage, who share experts."""
    row_bytes: float = HALF
    """Of a number of a token, as experts get it."""

    def width(self, *, is_expert: bool = False) -> float:
        """Bytes of a weight."""
        return self.precision.weight_bytes(is_expert=is_expert, mixture=self.model.is_mixture)

    def product(self, name: str, n: float, k: float, tokens: float | None = None) -> Product:
        """Of all rows with one matrix."""
        rows = self.tokens if tokens is None else tokens
        return Product(name, rows, n, k, n * k * self.width())


def layer_operators(shape: Shape, layer: Layer) -> Iterator[PassOperator]:
    """Of one layer, attention over other tokens left out."""
    engine, hidden = shape.engine, shape.model.hidden
    moved = shape.tokens * hidden * HALF * (2 * layer.norms + 2 * layer.sums)
    yield Vector("norms and sums", moved, layer.sums)
    if layer.streams > 1:
        yield from _streams(shape, layer)
    for attention in layer.mixers:
        if isinstance(attention, LatentAttention):
            yield from _latent_products(shape, attention)
        elif isinstance(attention, StateSpace | SelectiveScan):
            yield from _state_products(shape, attention)
        elif isinstance(attention, CompressedAttention):
            yield from _compressed_products(shape, attention)
        else:
            yield from _grouped_products(shape, attention)
        given = attention.heads * attention.value_size
        rows = attention.out_rows if isinstance(attention, CompressedAttention) else given
        yield shape.product("attention out", hidden, rows / engine.tensor)
        yield from _sums(shape, "attention: sums")
    if isinstance(layer.mlp, Experts):
        yield from _experts(shape, layer.mlp)
    elif layer.mlp:
        yield from _mlp(shape, layer.mlp)
        yield from _sums(shape, "mlp: sums")
    if layer.injected:
        yield shape.product("injected in", layer.injected, hidden)
        yield Vector("injected", shape.tokens * layer.injected * HALF * 3, 2)
        yield shape.product("injected out", hidden, layer.injected)


def _streams(shape: Shape, layer: Layer) -> Iterator[PassOperator]:
    """Before each part streams come together, in fp32, and behind it they are mixed with what it gives."""
    numbers = layer.streams * shape.model.hidden
    for _ in range(layer.sums):
        yield shape.product("streams weighed", layer.mixed, numbers)
        yield Vector("streams", shape.tokens * (3 * numbers + 2 * shape.model.hidden) * HALF, 3)


def _compressed_products(shape: Shape, attention: CompressedAttention) -> Iterator[PassOperator]:
    """Entries are made on every chip; a few bytes of a token that wait for the rest of their entry are left out."""
    tensor, tokens, hidden = shape.engine.tensor, shape.tokens, shape.model.hidden
    queries = attention.heads * attention.head_size / tensor
    yield shape.product("short vectors and entries", attention.short, hidden)
    yield shape.product("queries", queries, attention.query_rank)
    yield Vector("rotary, norms, kept", tokens * (2 * queries + 4 * attention.short) * HALF, 5)
    if attention.index_heads:
        index = attention.index_heads * attention.index_size
        yield shape.product("index", index, attention.query_rank)
        yield Vector("index", tokens * index * HALF * 2, 4)
    yield Vector("attention", 0.0, 1)
    yield shape.product("attention of groups", attention.out_rank, queries)


def _grouped_products(
    shape: Shape, attention: GroupedAttention | LinearAttention
) -> Iterator[PassOperator]:
    columns = attention.columns(shape.engine.tensor)
    yield shape.product("queries, keys, values", columns, shape.model.hidden)
    yield Vector("rotary, kept", shape.tokens * columns * HALF * 2, 2)
    if isinstance(attention, GroupedAttention) and attention.index_heads:
        index = (attention.index_heads + 1) * attention.index_size
        yield shape.product("index", index, shape.model.hidden)
        yield Vector("index", shape.tokens * index * HALF * 2, 4)
    # The kernel of attention itself; its traffic is linear in what is seen, see `Reading`.
    yield Vector("attention", 0.0, 1)


def _latent_products(shape: Shape, attention: LatentAttention) -> Iterator[PassOperator]:
    heads = attention.heads / shape.engine.tensor
    hidden, short = shape.model.hidden, attention.kv_rank + attention.rope_size
    queries = heads * attention.score_size
    yield shape.product("short vectors", (attention.query_rank or queries) + short, hidden)
    if attention.query_rank:
        yield shape.product("queries", queries, attention.query_rank)
    # Absorbed, or expanded: either way the matrices of keys and of values are read once.
    yield shape.product("keys absorbed", heads * attention.plain_size, attention.kv_rank)
    yield shape.product("values absorbed", heads * attention.value_size, attention.kv_rank)
    yield Vector("rotary, norms, kept", shape.tokens * (2 * queries + 4 * short) * HALF, 4)
    yield Vector("attention", 0.0, 1)
    if attention.index_heads:
        index = attention.index_heads * attention.index_size
        rank = attention.query_rank or hidden
        yield shape.product("index", index, rank)
        yield Vector("index", shape.tokens * index * HALF * 2, 4)


def _state_products(shape: Shape, attention: StateSpace | SelectiveScan) -> Iterator[PassOperator]:
    """The traffic of states is linear in requests, see `Reading`, and the scan of prompts in tokens, see `Scoring`."""
    tensor, tokens = shape.engine.tensor, shape.tokens
    inner = attention.heads * attention.value_size / tensor
    yield shape.product("states in", attention.columns(tensor), shape.model.hidden)
    if isinstance(attention, StateSpace):
        yield Vector("filter", tokens * attention.filtered(tensor) * HALF * 2, 1)
        yield Vector("gates", tokens * inner * HALF * 3, 1)
    else:
        yield Vector("filter", tokens * inner * HALF * 2, 1)
        yield shape.product("steps and states", attention.spread, inner)
        yield shape.product("steps", inner, attention.rank)
        if tensor > 1:
            size = tokens * attention.spread * HALF
            yield Collective("steps and states", "reduce", size, "tensor")
    yield Vector("scan", 0.0, 1)


def _mlp(shape: Shape, mlp: Mlp, tokens: float | None = None) -> Iterator[PassOperator]:
    """Cut over the chips of `tensor`."""
    rows = shape.tokens if tokens is None else tokens
    size, hidden = mlp.size / shape.engine.tensor, shape.model.hidden
    yield shape.product("mlp in", mlp.in_size / shape.engine.tensor, hidden, rows)
    yield Vector("activation", rows * size * 3 * HALF, 1)
    yield shape.product("mlp out", hidden, size, rows)


def _experts(shape: Shape, experts: Experts) -> Iterator[PassOperator]:
    engine, hidden = shape.engine, shape.model.hidden
    spread = min(engine.expert, experts.count)
    cut = engine.stage / spread
    tokens = shape.all_tokens
    here = experts.count / spread
    # Of `here` experts, those that at least one of the tokens meets, were all equally likely.
    met = here * (1 - (1 - experts.chosen / experts.count) ** tokens)
    rows = tokens * experts.chosen / spread
    width = shape.width(is_expert=True)
    size, in_size = experts.expert.size / cut, experts.expert.in_size / cut
    router = experts.count * hidden * shape.width()
    yield Product("router", shape.tokens, experts.count, hidden, router, is_plain=True)
    # Tokens are brought into few bits once, before they are copied for each expert:
    # DeepSeek-V3, arxiv.org/abs/2412.19437, section 3.3.2, and so vLLM's and SGLang's fused_moe.
    if experts.latent:
        yield shape.product("experts' vectors", experts.latent, hidden)
    row = experts.width(hidden)
    if shape.row_bytes < HALF:
        yield Vector("narrowed", shape.tokens * row * (HALF + shape.row_bytes), 1)
    touched = (min(rows, tokens) + rows) * row
    yield Vector("router, tokens sorted", touched * shape.row_bytes, 4)
    yield from _exchange(shape, experts, "tokens to experts")
    weights = in_size * row * width * met
    yield Product("experts in", rows, in_size, row, weights, met, True, is_narrow=True)
    yield Vector("activation", rows * size * 3 * HALF, 1)
    yield Product("experts out", rows, row, size, size * row * width * met, met, True)
    yield Vector("tokens put back", touched * HALF, 1)
    if experts.shared:
        yield from _mlp(shape, experts.shared)
    yield from _exchange(shape, experts, "tokens back")
    if experts.latent:
        yield shape.product("experts' sums", hidden, experts.latent)
    if engine.data == 1:
        yield from _sums(shape, "experts: sums")


def _exchange(shape: Shape, experts: Experts, name: str) -> Iterator[Collective]:
    """Groups that attend apart bring tokens together; within one group all chips have them all."""
    engine = shape.engine
    if engine.data == 1:
        return
    own = shape.tokens * experts.width(shape.model.hidden) * HALF / engine.tensor
    if engine.expert > 1:
        copies = min(experts.chosen, engine.expert)
        yield Collective(name, "exchange", own * copies, "stage", copies=copies)
    else:
        pattern = "gather" if "to" in name.split() else "scatter"
        yield Collective(name, pattern, own * engine.stage, "stage")


def _sums(shape: Shape, name: str) -> Iterator[Collective]:
    if shape.engine.tensor > 1:
        yield Collective(name, "reduce", shape.tokens * shape.model.hidden * HALF, "tensor")


def head_operators(shape: Shape, given: float) -> Iterator[PassOperator]:
    """Of the table and the logits for `given` tokens; in 16 bits whatever the rest is in."""
    model, tensor = shape.model, shape.engine.tensor
    columns = model.vocabulary / tensor
    yield Vector("table", shape.tokens * model.hidden * HALF * 2, 1)
    if model.injected:
        yield shape.product("injected", model.injected, model.hidden)
        yield Vector("injected", shape.tokens * model.injected * HALF * 5, 3)
    product = columns * model.hidden
    yield Product("logits", given, columns, model.hidden, product * HALF, is_plain=True)
    yield Vector("sampling", given * model.vocabulary * 8, 3)
    if tensor > 1:
        yield Collective("logits", "gather", given * model.vocabulary * HALF, "tensor")


def readings(attention: Attention, engine: Engine, precision: Precision) -> Iterator[Reading]:
    """Of one layer: of tokens near by, and of entries for those that are far, where these are apart."""
    if not isinstance(attention, CompressedAttention):
        yield reading(attention, engine, precision)
        return
    numbers, width = attention.head_size, precision.cache_bytes
    flops = 4 * attention.heads / engine.tensor * numbers
    yield Reading(flops, numbers * width, attention.near)
    if attention.rate:
        index, rate = attention.index_size * width, attention.rate
        yield Reading(flops / rate, numbers * width / rate, attention.window, index / rate)


def scorings(attention: Attention, engine: Engine, least_heads: int = 1) -> Iterator[Scoring]:
    """The same, within a prompt."""
    if not isinstance(attention, CompressedAttention):
        yield scoring(attention, engine, least_heads)
        return
    heads = max(attention.heads / engine.tensor, least_heads)
    flops = 4 * heads * attention.head_size
    yield Scoring(flops, attention.near)
    if attention.rate:
        index = 2 * attention.index_heads * attention.index_size / attention.rate
        yield Scoring(flops / attention.rate, attention.window, index)


def reading(attention: Attention, engine: Engine, precision: Precision) -> Reading:
    """Of one layer, for a token given and a token seen, on one chip."""
    width = precision.cache_bytes
    heads = attention.heads / engine.tensor
    assert not isinstance(attention, CompressedAttention), "it has two"
    if isinstance(attention, LatentAttention):
        numbers = attention.kv_rank + attention.rope_size
        index = attention.index_size if attention.index_heads else 0
        flops = 2 * heads * (numbers + attention.kv_rank)
        return Reading(flops, numbers * width, attention.window, index)
    if isinstance(attention, LinearAttention | StateSpace | SelectiveScan):
        return Reading(0.0, 0.0, 0, 0.0, 2 * attention.state_bytes(engine.tensor))
    numbers = attention.score_size + attention.value_size
    keys = max(attention.kv_heads / engine.tensor, 1)
    index = attention.index_size * width
    return Reading(2 * heads * numbers, keys * numbers * width, attention.window, index)


def scoring(attention: Attention, engine: Engine, least_heads: int = 1) -> Scoring:
    """Of one layer, for a pair of tokens of a prompt, on a chip whose kernels take so many heads at once.

    Tokens that are chosen are looked at through the short vectors, of which all heads make use: DeepSeek-V3.2,
    arxiv.org/abs/2512.02556, section 2.1.
    """
    heads = attention.heads / engine.tensor
    assert not isinstance(attention, CompressedAttention), "it has two"
    if isinstance(attention, StateSpace):
        flops, size = attention.scan_flops(engine.tensor), attention.scan_bytes(engine.tensor)
        return Scoring(0.0, 0, token_flops=flops, token_bytes=size)
    if isinstance(attention, SelectiveScan):
        return Scoring(0.0, 0, token_bytes=attention.scan_bytes(engine.tensor))
    flops = 2 * heads * (attention.score_size + attention.value_size)
    if isinstance(attention, LinearAttention) or not attention.index_heads:
        return Scoring(flops, attention.window)
    index = 2 * attention.index_heads * attention.index_size
    if isinstance(attention, GroupedAttention):
        return Scoring(flops, attention.window, 2 * index)  # in 16 bits, which take twice as long
    numbers = 2 * attention.kv_rank + attention.rope_size
    return Scoring(flops, attention.window, index, 2 * max(heads, least_heads) * numbers)
