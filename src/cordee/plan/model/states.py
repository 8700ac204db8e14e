"""Layers that keep a state of fixed size of a sequence, in place of keys and values of its tokens."""

from dataclasses import dataclass
from typing import ClassVar


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

    def state_bytes(self, tensor: int) -> float:
        """The same on one of so many chips: in fp32, as Qwen3-Next keeps them."""
        return self.state_numbers / tensor * 4

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


@dataclass(frozen=True, slots=True, kw_only=True)
class StateSpace:
    """Mamba-2: heads that each keep a state, and groups of them that share what goes in and what is read.

    Dao and Gu, arxiv.org/abs/2405.21060. A sequence is read chunk by chunk: products within one, and states
    from one to the next.
    """

    heads: int
    """Each with a state."""
    groups: int
    """Of heads that share what is written into states, and what is read from them."""
    value_size: int
    """Numbers of a head."""
    score_size: int
    """Numbers of a state for each of them."""
    mixed: int = 4
    """Neighbours that are mixed before."""
    chunk: int = 256
    """Tokens that are taken together where a sequence is read."""
    in_biases: bool = False
    out_bias: bool = False
    filter_bias: bool = True
    normed: bool = True
    """Whether what heads give is normed, beside its gate."""
    number_bytes: int = 4
    """Of a number of a state, as engines keep it."""

    @property
    def kv_heads(self) -> int:
        """Heads that have something of their own."""
        return self.groups

    @property
    def window(self) -> int:
        """Tokens that meet each other as in attention: those of a chunk."""
        return self.chunk

    @property
    def kv_numbers(self) -> int:
        """Nothing is kept of a single token."""
        return 0

    @property
    def inner(self) -> int:
        """Numbers of all heads."""
        return self.heads * self.value_size

    def filtered(self, tensor: int) -> float:
        """Numbers of a token that are mixed with its neighbours', on one of so many chips."""
        shared = max(self.groups / tensor, 1) * self.score_size
        return self.inner / tensor + 2 * shared

    def columns(self, tensor: int) -> float:
        """Of the first product: gates, what is mixed, and how long a step each head takes."""
        return (self.inner + self.heads) / tensor + self.filtered(tensor)

    def state_bytes(self, tensor: int) -> float:
        """Kept of a sequence on one of so many chips: states, and the last tokens for the filter at 2 bytes."""
        states = self.inner * self.score_size / tensor * self.number_bytes
        return states + (self.mixed - 1) * self.filtered(tensor) * 2

    def scan_flops(self, tensor: int) -> float:
        """For a token: within its chunk all pairs, for groups and for heads; and into and out of states."""
        pairs = max(self.groups / tensor, 1) * self.score_size + self.inner / tensor
        return 2 * self.chunk * pairs + 4 * self.inner / tensor * self.score_size

    def scan_bytes(self, tensor: int) -> float:
        """For a token, of the five kernels that read a sequence.

        github.com/state-spaces/mamba e9594ce mamba_ssm/ops/triton/ssd_combined.py, _mamba_chunk_scan_combined_fwd:
        what goes in is read twice, and so is what writes and reads states; a chunk's states are written and read
        in fp32 and again in 16 bits; pairs of a group are written and read in fp32.
        """
        heads, groups = self.inner / tensor, max(self.groups / tensor, 1)
        states = heads * self.score_size / self.chunk * (2 * 4 + 2 * 2)
        pairs = 2 * 4 * self.chunk * groups
        return 2 * (3 * heads + 4 * groups * self.score_size) + states + pairs

    def parameters(self, hidden: int) -> int:
        """Weights, the filter, a decay, a step and a way past for each head, and the norm."""
        columns = 2 * self.inner + 2 * self.groups * self.score_size + self.heads
        mixed = self.inner + 2 * self.groups * self.score_size
        found = columns * (hidden + self.in_biases) + mixed * (self.mixed + self.filter_bias)
        found += 3 * self.heads + self.inner * self.normed
        return found + self.inner * hidden + hidden * self.out_bias


@dataclass(frozen=True, slots=True, kw_only=True)
class SelectiveScan:
    """Mamba: every number of the inner vector has a small state of its own, and no two of them share a product.

    Gu and Dao, arxiv.org/abs/2312.00752.
    """

    inner: int
    score_size: int
    """Numbers of a state."""
    rank: int
    """Of the short vector that says how long a step is."""
    mixed: int = 4
    biases: bool = False
    filter_bias: bool = True
    normed: bool = False
    """Whether steps and what states are written and read with are normed, as in Jamba."""

    @property
    def heads(self) -> int:
        """Each number is one."""
        return self.inner

    @property
    def kv_heads(self) -> int:
        """All share what states are written and read with."""
        return 1

    @property
    def value_size(self) -> int:
        return 1

    @property
    def window(self) -> int:
        """A token meets no other."""
        return 1

    @property
    def kv_numbers(self) -> int:
        """Nothing is kept of a single token."""
        return 0

    @property
    def spread(self) -> int:
        """Columns of the product that says how states are written and read."""
        return self.rank + 2 * self.score_size

    def columns(self, tensor: int) -> float:
        """Of the first product: what is scanned, and gates."""
        return 2 * self.inner / tensor

    def state_bytes(self, tensor: int) -> float:
        """Kept of a sequence on one of so many chips: states in fp32, and the last tokens for the filter."""
        return self.inner / tensor * (4 * self.score_size + 2 * (self.mixed - 1))

    def scan_bytes(self, tensor: int) -> float:
        """For a token: values, steps and gates are read, and what is given is written."""
        return 2 * (4 * self.inner / tensor + 2 * self.score_size)

    def parameters(self, hidden: int) -> int:
        """Weights, the filter, steps, decays and a way past, and norms."""
        found = 2 * self.inner * (hidden + self.biases) + self.inner * hidden + hidden * self.biases
        found += self.inner * (self.mixed + self.filter_bias) + self.inner * self.spread
        found += self.inner * (self.rank + 1) + self.inner * (self.score_size + 1)
        return found + self.spread * self.normed
