"""Layers that look back at tokens: what they keep of each, and what their products are."""

from dataclasses import dataclass


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
    head_gate: bool = False
    """Whether it is weighed as a whole."""
    given: int | None = None
    """Numbers of a head's values, where these are not as long as its keys."""
    one_product: bool = False
    """Whether values come from the product that gives keys."""
    borrowed: bool = False
    """Whether it looks at the keys and values of a layer before, and has none of its own."""
    index_heads: int = 0
    """Heads that choose at which tokens is looked, `window` of them; 0 where there is no choice."""
    index_size: int = 0

    def columns(self, tensor: int) -> float:
        """Of the first product, shared out over so many chips."""
        queries = self.heads * self.head_size * (2 if self.gate else 1) / tensor
        queries += self.heads * self.head_gate / tensor
        return queries + max(self.kv_heads / tensor, 1) * self._made

    @property
    def _made(self) -> int:
        """Numbers of a head of keys and values that come from products of this layer."""
        if self.borrowed:
            return 0
        return self.head_size + (0 if self.one_product else self.value_size)

    @property
    def score_size(self) -> int:
        """Over how many numbers a query meets a key."""
        return self.head_size

    @property
    def value_size(self) -> int:
        """How many numbers a head gives."""
        return self.head_size if self.given is None else self.given

    @property
    def kv_numbers(self) -> int:
        """Numbers that a cache keeps of a token."""
        if self.borrowed:
            return 0
        return self.kv_heads * (self.head_size + self.value_size) + self.index_size

    def kept_numbers(self, tensor: int) -> float:
        """The same on one of so many chips."""
        if self.borrowed:
            return 0.0
        return max(self.kv_heads / tensor, 1) * (self.head_size + self.value_size) + self.index_size

    @property
    def kept_tokens(self) -> int | None:
        """Of how many tokens something is kept; None where of all."""
        return None if self.index_heads else self.window

    def parameters(self, hidden: int) -> int:
        """Weights and biases, norms of heads included."""
        queries, made = self.heads * self.head_size, self.kv_heads * self._made
        found = hidden * (queries * (2 if self.gate else 1) + made + self.heads * self.head_gate)
        found += self.heads * self.value_size * hidden
        found += (queries + made) * self.biases + hidden * self.out_bias
        found += (1 if self.borrowed else 2) * self.head_size * self.head_norm
        return found + self.heads * self.sinks + self._index_parameters(hidden)

    def _index_parameters(self, hidden: int) -> int:
        """MiniMax M3: queries, one key for all heads, and a norm of each."""
        if not self.index_heads:
            return 0
        return hidden * self.index_size * (self.index_heads + 1) + 2 * self.index_size


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
class CompressedAttention:
    """A window of tokens, and behind it one entry for several of them, of which an index may choose some.

    An entry is key and value of all heads. DeepSeek-V4 as github.com/huggingface/transformers v5.24.0 has it,
    modeling_deepseek_v4.py.
    """

    heads: int
    query_rank: int
    head_size: int
    """Numbers of an entry."""
    near: int
    """Tokens whose own entries are looked at."""
    groups: int
    """Of heads, each with a product of its own after attention."""
    out_rank: int
    """Numbers that each of these gives."""
    rate: int
    """Tokens of an entry behind the window; 0: nothing is kept of them."""
    index_heads: int = 0
    """Heads that choose entries; 0 where all are looked at."""
    index_size: int = 0
    index_entries: int | None = None
    """How many they choose."""

    @property
    def kv_heads(self) -> int:
        """All heads share an entry."""
        return 1

    @property
    def window(self) -> int | None:
        """Tokens back that cost something."""
        if not self.rate:
            return self.near
        return None if self.index_entries is None else self.index_entries * self.rate

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
        """Numbers that a cache keeps of a token far behind."""
        return (self.head_size + self.index_size) // self.rate if self.rate else 0

    def kept_numbers(self, tokens: float) -> float:
        """Of a sequence with so many tokens."""
        far = tokens / self.rate * (self.head_size + self.index_size) if self.rate else 0.0
        return min(tokens, self.near) * self.head_size + far

    @property
    def out_rows(self) -> int:
        """Numbers that go into the last product."""
        return self.groups * self.out_rank

    @property
    def overlap(self) -> int:
        """How many entries a token is a part of: of two where some are chosen."""
        return 2 if self.index_heads else 1

    @property
    def short(self) -> int:
        """Columns of products that every chip has: short queries, a token's entry, and what entries are made of."""
        made = 2 * self.overlap * (self.head_size + self.index_size) if self.rate else 0
        return self.query_rank + self.head_size + made + self.index_heads

    def parameters(self, hidden: int) -> int:
        """Weights, norms, sinks, and where in an entry a token stands."""
        queries = self.heads * self.head_size
        found = hidden * self.short + self.query_rank * (queries + 1) + self.head_size + self.heads
        found += queries * self.out_rank + self.groups * self.out_rank * hidden
        if self.rate:
            sizes = self.head_size + self.index_size
            found += self.rate * self.overlap * sizes + sizes
        return found + self.query_rank * self.index_heads * self.index_size
