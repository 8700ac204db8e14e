"""A model as a planner sees it: its layers with their sizes; nothing of a framework, no weights."""

from collections import Counter
from dataclasses import dataclass, replace
from functools import cached_property
from math import gcd

from cordee.plan.model.attention import CompressedAttention, GroupedAttention, LatentAttention
from cordee.plan.model.states import LinearAttention, SelectiveScan, StateSpace

Attention = (
    GroupedAttention
    | LatentAttention
    | CompressedAttention
    | LinearAttention
    | StateSpace
    | SelectiveScan
)


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
    router_scale: bool = False
    """Whether what the router gets is scaled, number by number."""
    latent: int | None = None
    """Size of the vector that experts get and give; None where it is the model's."""

    def width(self, hidden: int) -> int:
        """Numbers of a token as experts get it."""
        return self.latent or hidden

    def each(self, hidden: int) -> int:
        """Parameters of one expert."""
        return self.expert.parameters(self.width(hidden))

    def parameters(self, hidden: int) -> int:
        """Weights of all experts, the shared one and the router."""
        return self.count * self.each(hidden) + self._every_token(hidden)

    def active_parameters(self, hidden: int) -> int:
        """Those that one token meets."""
        return self.chosen * self.each(hidden) + self._every_token(hidden)

    def _every_token(self, hidden: int) -> int:
        shared = self.shared.parameters(hidden) if self.shared else 0
        shared += 2 * hidden * (self.latent or 0)
        shared += hidden * (self.count + self.shared_gate + self.router_scale)
        return shared + self.count * self.router_bias


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """What looks at other tokens and what follows it, with norms; a layer may lack either."""

    attention: Attention | None
    mlp: Mlp | Experts | None
    norms: int = 2
    norm_biases: bool = False
    streams: int = 1
    """Hidden states of a token that go through all layers beside each other, and are mixed for each part."""
    injected: int = 0
    """Numbers that each token's own row of a table gives to this layer."""
    beside: Attention | None = None
    """What looks at other tokens beside `attention`, on the same input, and is added to what that gives."""

    @property
    def mixers(self) -> tuple[Attention, ...]:
        """What looks at other tokens."""
        return tuple(one for one in (self.attention, self.beside) if one is not None)

    @property
    def sums(self) -> int:
        """How often something is added to what goes through all layers."""
        return bool(self.mixers) + (self.mlp is not None)

    def parameters(self, hidden: int) -> int:
        """Everything that is trained in it."""
        return self._every_token(hidden) + (self.mlp.parameters(hidden) if self.mlp else 0)

    def active_parameters(self, hidden: int) -> int:
        """Those that one token meets."""
        return self._every_token(hidden) + (self.mlp.active_parameters(hidden) if self.mlp else 0)

    def _every_token(self, hidden: int) -> int:
        norms = self.norms * hidden * (2 if self.norm_biases else 1)
        norms += (2 * self.injected + 1) * hidden if self.injected else 0
        if self.streams > 1:
            norms += self.sums * (self.mixed * (self.streams * hidden + 1) + 3)
        return norms + sum(one.parameters(hidden) for one in self.mixers)

    @property
    def mixed(self) -> int:
        """Weights by which streams come together, go apart and are mixed: Xie et al., as DeepSeek-V4 has them."""
        return (2 + self.streams) * self.streams if self.streams > 1 else 0


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
    injected_rows: int = 0
    """Rows of the table from which layers get numbers of their own."""
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
            n * layer.mlp.count * layer.mlp.each(self.hidden)
            for layer, n in self.kinds
            if isinstance(layer.mlp, Experts)
        )

    @property
    def _ends(self) -> int:
        tables = self.vocabulary * self.hidden * (1 if self.tied else 2)
        norm = self.hidden * (2 if self.norm_biases else 1)
        streams = max(layer.streams for layer in self.layers)
        joined = streams * (streams * self.hidden + 1) + 1 if streams > 1 else 0
        return tables + self.positions * self.hidden + norm + self.injected_parameters + joined

    @property
    def injected(self) -> int:
        """Numbers that layers get of their own for a token, over all of them."""
        return sum(layer.injected * n for layer, n in self.kinds)

    @property
    def injected_parameters(self) -> int:
        """The table with these, what is added to its rows, and the norm of that: Gemma 4's small models."""
        each = max((layer.injected for layer, _ in self.kinds), default=0)
        return self.injected * (self.injected_rows + self.hidden) + each

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
        return sum(one.kv_numbers * n for layer, n in self.kinds for one in layer.mixers)

    @cached_property
    def heads(self) -> int:
        """Into how many parts what looks at other tokens can be cut, in every layer."""
        mixers = (one for layer, _ in self.kinds for one in layer.mixers)
        return gcd(
            *(one.groups if isinstance(one, CompressedAttention) else one.heads for one in mixers)
        )

    @property
    def has_streams(self) -> bool:
        """Whether several hidden states of a token go through the layers."""
        return any(layer.streams > 1 for layer, _ in self.kinds)

    @property
    def has_states_of_mamba(self) -> bool:
        """Whether some layer is one of Mamba."""
        return any(
            isinstance(one, StateSpace | SelectiveScan)
            for layer, _ in self.kinds
            for one in layer.mixers
        )

    def cut(self, layers: int) -> "Model":
        """The same with its first `layers` layers."""
        return replace(self, layers=self.layers[:layers])
