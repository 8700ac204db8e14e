"""A model as a planner sees it: its layers with their sizes; nothing of a framework, no weights."""

from collections import Counter
from dataclasses import dataclass, replace
from functools import cached_property
from typing import ClassVar


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupedAttention:
    """Heads of queries, groups of which share a head of keys and values.

    Multi-head, multi-query and grouped-query attention are the same with other numbers of heads.
    """

    heads: int
    kv_heads: int
    head_size: int
    window: int | None = None
    """How many tokens back one sees; None where all are seen."""
    biases: bool = False
    """Whether queries, keys and values have biases."""
    out_bias: bool = False
    """Whether the product after it has one."""
    head_norm: bool = False
    """Whether queries and keys are normed head by head."""
    sinks: bool = False
    """Whether each head has a learned weight that no token gets."""
    gate: bool = False
    """Whether what a head gives is weighed, number by number."""

    def columns(self, tensor: int) -> float:
        """Of the first product, shared out over so many chips."""
        queries = self.heads * self.head_size * (2 if self.gate else 1) / tensor
        return queries + 2 * max(self.kv_heads / tensor, 1) * self.head_size

    @property
    def score_size(self) -> int:
        """Over how many numbers a query meets a key."""
        return self.head_size

    @property
    def value_size(self) -> int:
        """How many numbers a head gives."""
        return self.head_size

    @property
    def kv_numbers(self) -> int:
        """Numbers that a cache keeps of a token."""
        return 2 * self.kv_heads * self.head_size

    def parameters(self, hidden: int) -> int:
        """Weights and biases, norms of heads included."""
        queries, keys = self.heads * self.head_size, self.kv_heads * self.head_size
        found = hidden * (queries * (2 if self.gate else 1) + 2 * keys) + queries * hidden
        found += (queries + 2 * keys) * self.biases + hidden * self.out_bias
        return found + 2 * self.head_size * self.head_norm + self.heads * self.sinks


@dataclass(frozen=True, slots=True, kw_only=True)
class LatentAttention:
    """Keys and values of all heads come from one short vector for each token, which is what is kept.

    DeepSeek-V2, arxiv.org/abs/2405.04434, section 2.1.
    """

    heads: int
    query_rank: int | None
    """Size of the vector from which queries come; None where they come from the hidden state."""
    kv_rank: int
    plain_size: int
    """Of a head of keys, what carries no position."""
    rope_size: int
    """Of a head of keys, what carries the position; all heads share it."""
    value_size: int
    index_heads: int = 0
    """Heads that choose which tokens are looked at; 0 where all are."""
    index_size: int = 0
    index_tokens: int | None = None
    """How many tokens they choose."""

    @property
    def kv_heads(self) -> int:
        """In training, every head has its own keys and values."""
        return self.heads

    @property
    def window(self) -> int | None:
        """As many tokens as are chosen."""
        return self.index_tokens

    @property
    def score_size(self) -> int:
        """Over how many numbers a query meets a key."""
        return self.plain_size + self.rope_size

    @property
    def kv_numbers(self) -> int:
        """Numbers that a cache keeps of a token."""
        return self.kv_rank + self.rope_size + self.index_size

    def parameters(self, hidden: int) -> int:
        """Weights, with the norms of the two short vectors."""
        queries = self.heads * self.score_size
        rank = self.query_rank
        found = hidden * queries if rank is None else rank * (hidden + 1 + queries)
        found += hidden * (self.kv_rank + self.rope_size) + self.kv_rank
        found += self.kv_rank * self.heads * (self.plain_size + self.value_size)
        found += self.heads * self.value_size * hidden
        return found + self._index_parameters(hidden)

    def _index_parameters(self, hidden: int) -> int:
        """DeepSeek-V3.2, its `Indexer`: queries, one key for all heads with its norm, head weights."""
        if not self.index_heads:
            return 0
        queries = (self.query_rank or hidden) * self.index_heads * self.index_size
        return queries + hidden * (self.index_size + self.index_heads) + 2 * self.index_size


@dataclass(frozen=True, slots=True, kw_only=True)
class LinearAttention:
    """A state of fixed size for each head in place of keys and values: gated delta networks.

    Yang, Kautz and Hatamizadeh, arxiv.org/abs/2412.06464; sizes as in Qwen3-Next.
    """

    PIECE: ClassVar = 64
    """Tokens that are taken together where a sequence is read."""

    heads: int
    """Of values, each with a state."""
    kv_heads: int
    """Of queries and of keys."""
    score_size: int
    value_size: int
    mixed: int = 4
    """Neighbours that are mixed before."""

    @property
    def head_size(self) -> int:
        """What a head gives."""
        return self.value_size

    @property
    def window(self) -> int:
        """Tokens back that cost as much as a state and a piece do."""
        return self.value_size + self.PIECE

    @property
    def kv_numbers(self) -> int:
        """Nothing is kept of a single token."""
        return 0

    @property
    def state_numbers(self) -> int:
        """Numbers that are kept of a sequence, however long."""
        return self.heads * self.score_size * self.value_size

    def columns(self, tensor: int) -> float:
        """Of the first product: queries, keys, values, gates; shared out over so many chips."""
        return (2 * self._keys + 2 * self._values + 2 * self.heads) / tensor

    @property
    def _keys(self) -> int:
        return self.kv_heads * self.score_size

    @property
    def _values(self) -> int:
        return self.heads * self.value_size

    def parameters(self, hidden: int) -> int:
        """Weights, the short filter, decays and the norm."""
        found = hidden * (2 * self._keys + 2 * self._values + 2 * self.heads)
        found += self.mixed * (2 * self._keys + self._values)
        return found + 2 * self.heads + self.value_size + self._values * hidden


Attention = GroupedAttention | LatentAttention | LinearAttention


@dataclass(frozen=True, slots=True, kw_only=True)
class Mlp:
    """Two products with a function in between; three where one gates another."""

    size: int
    gated: bool = True
    biases: bool = False

    @property
    def in_size(self) -> int:
        """Columns of the first product, gate included."""
        return self.size * (2 if self.gated else 1)

    def parameters(self, hidden: int) -> int:
        """Weights and biases."""
        found = hidden * (self.in_size + self.size)
        return found + (self.in_size + hidden) * self.biases

    def active_parameters(self, hidden: int) -> int:
        """All of them meet every token."""
        return self.parameters(hidden)


@dataclass(frozen=True, slots=True, kw_only=True)
class Experts:
    """Many MLPs, of which a router chooses some for each token, beside some that all tokens meet."""

    count: int
    chosen: int
    """How many a token meets, apart from the shared."""
    expert: Mlp
    shared: Mlp | None = None
    shared_gate: bool = False
    """Whether what the shared MLP gives is weighed."""
    router_bias: bool = False

    def parameters(self, hidden: int) -> int:
        """Weights of all experts, the shared one and the router."""
        return self.count * self.expert.parameters(hidden) + self._every_token(hidden)

    def active_parameters(self, hidden: int) -> int:
        """Those that one token meets."""
        return self.chosen * self.expert.parameters(hidden) + self._every_token(hidden)

    def _every_token(self, hidden: int) -> int:
        shared = self.shared.parameters(hidden) if self.shared else 0
        return shared + hidden * (self.count + self.shared_gate) + self.count * self.router_bias


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """Attention and what follows it, with norms."""

    attention: Attention
    mlp: Mlp | Experts
    norms: int = 2
    norm_biases: bool = False

    def parameters(self, hidden: int) -> int:
        """Everything that is trained in it."""
        norms = self.norms * hidden * (2 if self.norm_biases else 1)
        return self.attention.parameters(hidden) + self.mlp.parameters(hidden) + norms

    def active_parameters(self, hidden: int) -> int:
        """Those that one token meets."""
        return self.parameters(hidden) - self.mlp.parameters(hidden) + self._active(hidden)

    def _active(self, hidden: int) -> int:
        return self.mlp.active_parameters(hidden)


@dataclass(frozen=True, kw_only=True)
class Model:
    """A decoder of text."""

    name: str
    hidden: int
    layers: tuple[Layer, ...]
    vocabulary: int
    tied: bool = False
    """Whether the first and the last table of the vocabulary are one."""
    positions: int = 0
    """Rows of a learned table of positions; 0 where positions are reckoned."""
    mtp_layers: tuple[Layer, ...] = ()
    """Layers behind the last that guess further tokens, in training."""
    longest: int | None = None
    """Tokens that it was made for."""
    norm_biases: bool = False
    remarks: tuple[str, ...] = ()
    """What of its config was not understood, and what that means for a plan."""

    @cached_property
    def kinds(self) -> tuple[tuple[Layer, int], ...]:
        """Layers that are alike, with how many there are, in the order they first appear."""
        return tuple(Counter(self.layers).items())

    @cached_property
    def parameters(self) -> int:
        """All that is trained, without the layers that guess further tokens."""
        return sum(layer.parameters(self.hidden) * n for layer, n in self.kinds) + self._ends

    @cached_property
    def active_parameters(self) -> int:
        """Those that one token meets."""
        return sum(layer.active_parameters(self.hidden) * n for layer, n in self.kinds) + self._ends

    @cached_property
    def expert_parameters(self) -> int:
        """Those of experts that a router chooses among."""
        return sum(
            n * layer.mlp.count * layer.mlp.expert.parameters(self.hidden)
            for layer, n in self.kinds
            if isinstance(layer.mlp, Experts)
        )

    @property
    def _ends(self) -> int:
        tables = self.vocabulary * self.hidden * (1 if self.tied else 2)
        norm = self.hidden * (2 if self.norm_biases else 1)
        return tables + self.positions * self.hidden + norm

    @cached_property
    def is_mixture(self) -> bool:
        """Whether a router chooses experts in some layer."""
        return any(isinstance(layer.mlp, Experts) for layer, _ in self.kinds)

    @property
    def experts(self) -> int:
        """The most experts that a layer has; 0 where it has none."""
        found = [layer.mlp.count for layer, _ in self.kinds if isinstance(layer.mlp, Experts)]
        return max(found, default=0)

    @property
    def kv_numbers(self) -> int:
        """Numbers that a cache keeps of a token, over all layers."""
        return sum(layer.attention.kv_numbers * n for layer, n in self.kinds)

    def cut(self, layers: int) -> "Model":
        """The same with its first `layers` layers."""
        return replace(self, layers=self.layers[:layers])
