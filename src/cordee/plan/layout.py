"""How a training step is spread over chips, and what a program does besides: a `Layout`, a `Job`."""

from dataclasses import dataclass
from typing import ClassVar

from cordee.core.errors import UsageError
from cordee.plan import recomputation
from cordee.plan.model import Model
from cordee.plan.pipeline.schedules import PLAIN, Schedule, schedule


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Degrees of each kind of parallelism. Chips are numbered tensor first, then context, data, stages."""

    RECOMPUTE: ClassVar = recomputation.WHOLE
    CONTEXT: ClassVar = ("ring", "all-to-all")

    chips: int
    tensor: int = 1
    """Chips that share each matrix product."""
    pipeline: int = 1
    """Stages of layers."""
    chunks: int = 1
    """Pieces of a stage, which take turns: interleaved where above 1."""
    schedule: str = PLAIN
    """How stages take turns: a row of pipeline/schedules.toml."""
    context: int = 1
    """Chips that share a sequence."""
    expert: int = 1
    """Chips over which experts are spread."""
    micro_batch: int = 1
    """Sequences in one pass."""
    zero: int = 1
    """What is shared out over chips with the same layers: 1 optimizer, 2 gradients, 3 weights too."""
    sequence_parallel: bool = True
    """Whether norms are shared out over the chips of `tensor`."""
    recompute: str = "none"
    """"selective": what is between the products of attention; "full": whole layers."""
    recompute_layers: int | None = None
    """Of how many layers of a stage, with "full"; all where it is left out."""
    recompute_parts: tuple[str, ...] = ()
    """Parts of the layers that are not reckoned again as a whole: rows of recomputation.toml."""
    context_kind: str = "ring"
    """How a sequence is shared: keys go round, or heads are exchanged."""
    shard_chips: int | None = None
    """Over how many chips weights are shared out with zero 3; all where it is left out."""

    def __post_init__(self) -> None:
        for name in ("chips", "tensor", "pipeline", "chunks", "context", "expert", "micro_batch"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} = {getattr(self, name)}: 1 or more")
        if self.recompute not in self.RECOMPUTE:
            raise UsageError(f"recompute = {self.recompute!r}: one of {', '.join(self.RECOMPUTE)}")
        for name in self.recompute_parts:
            if name not in recomputation.parts():
                raise UsageError(f"recompute_parts: {recomputation.unknown(name)}")
        if self.context_kind not in self.CONTEXT:
            raise UsageError(f"context_kind = {self.context_kind!r}: {', '.join(self.CONTEXT)}")
        if self.zero not in (0, 1, 2, 3):
            raise UsageError(f"zero = {self.zero}: 0, 1, 2 or 3")
        turns = schedule(self.schedule)
        if self.chunks > 1 and not turns.cuts:
            raise UsageError(
                f"chunks = {self.chunks}: {self.schedule} has no stages in chunks; leave it 1"
            )
        together = self.tensor * self.pipeline * self.context
        if self.chips % together:
            more = -(-self.chips // together) * together
            raise UsageError(
                f"{self.chips} chips do not divide by tensor {self.tensor} x pipeline "
                f"{self.pipeline} x context {self.context} = {together}; {more} would"
            )

    @property
    def data(self) -> int:
        """Replicas of the model that see different sequences."""
        return self.chips // (self.tensor * self.pipeline * self.context)

    @property
    def turns(self) -> Schedule:
        """What its schedule is like."""
        return schedule(self.schedule)

    def fullest(self, layers: int) -> int:
        """Layers of the stage that has most of so many."""
        pieces = self.turns.pieces
        return -(-layers // (self.pipeline * pieces)) * pieces

    def at_ends(self, layers: int) -> float:
        """Of as many layers as the fullest chip has, those of the one with the first and the last; at most 1.

        Where a schedule folds a pipeline and layers do not divide, the last of its runs is shorter.
        """
        runs = self.pipeline * self.turns.pieces
        each = -(-layers // runs)
        last = max(layers - each * (runs - 1), 0)
        return (each + last) / (2 * each) if self.turns.folds else 1.0

    @property
    def words(self) -> str:
        """It in a few words, as people write it."""
        parts = [f"TP{self.tensor}", f"PP{self.pipeline}"]
        parts += [f"x{self.chunks}"] if self.chunks > 1 else []
        parts += [self.schedule] if self.schedule != PLAIN else []
        parts += [f"CP{self.context}"] if self.context > 1 else []
        parts += [f"EP{self.expert}"] if self.expert > 1 else []
        parts += [f"DP{self.data}", f"MB{self.micro_batch}", f"ZeRO{self.zero}"]
        parts += [f"recompute {self.recomputed}"] if self.recomputed != "none" else []
        return " ".join(parts)

    @property
    def recomputed(self) -> str:
        """What is reckoned again, in words."""
        some = f" of {self.recompute_layers}" if self.recompute_layers else ""
        whole = [self.recompute + some] if self.recompute != "none" else []
        return "+".join([*whole, *self.recompute_parts]) or "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """What the program does that is the same in every layout."""

    DISPATCH: ClassVar = ("exchange", "fused")

    dtype: str = "bf16"
    """Of the matrix products."""
    fused_attention: bool = True
    """Whether scores stay in the chip."""
    attention: str = ""
    """The kernel that does so; the usual one where it is left out."""
    fused_norm: bool = True
    fused_activation: bool = True
    causal: bool = True
    """Whether products with tokens to come are left out."""
    overlaps_tensor: bool = False
    """Whether collectives of `tensor` run beside the products that they belong to."""
    overlaps_gradients: bool = True
    """Whether gradients are summed up beside the backward pass."""
    overlaps_stages: bool = False
    """Whether what stages send runs beside work, where they are in chunks."""
    overlaps_experts: bool = False
    """Whether tokens travel to experts beside other work; where passes are paired, beside the other one."""
    dispatch: str = "exchange"
    """How tokens get to experts: copies of them, sorted before and after; "fused": one kernel that
    sorts them and sends a chip each token once."""
    narrow_attention: bool = False
    """Whether attention is reckoned in 8 bits too."""
    blocks: bool = False
    """Whether numbers of 8 bits are scaled in small blocks (MX)."""
    gradient_bytes: int = 4
    """Size of a summed gradient."""
    narrow_weights: bool = False
    """Whether weights are kept in the few bits of the products alone, and not in 16 beside them."""
    narrow_function: bool = False
    """Whether what comes into the function of an MLP is kept in 8 bits."""
    master_bytes: float = 4
    """Of the weight that the optimizer adds to; what 16 bits leave of it is 2."""
    moment_bytes: float = 8
    """Of the two moments of a gradient together."""
    optimizer_on_host: float = 0.0
    """Which part of the optimizer's states is in the memory of hosts."""
    trains_all: bool = True
    """False where only small matrices beside the weights are trained (LoRA)."""
    waits_for_all: bool = True
    """Whether all stages wait for one another before the optimizer, as the norm of all gradients demands;
    without, arxiv.org/abs/2401.10241, section 4."""

    def __post_init__(self) -> None:
        if self.dispatch not in self.DISPATCH:
            raise UsageError(f"dispatch = {self.dispatch!r}: one of {', '.join(self.DISPATCH)}")
        if not 0 <= self.optimizer_on_host <= 1:
            raise UsageError(f"optimizer_on_host = {self.optimizer_on_host:g}: a part, from 0 to 1")

    @property
    def state_bytes(self) -> float:
        """What the optimizer keeps of a parameter."""
        return self.master_bytes + self.moment_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One training step: which model, on how many tokens, spread how."""

    model: Model
    layout: Layout
    sequence: int
    """Tokens of a sequence."""
    batch: int
    """Sequences of a step, over all chips."""
    program: Program = Program()

    @property
    def micro_batches(self) -> float:
        """Passes of one replica in a step."""
        return self.batch / (self.layout.data * self.layout.micro_batch)

    @property
    def hides_pairs(self) -> bool:
        """Whether passes are paired, so that tokens on their way to experts are hidden behind the other one."""
        return self.layout.turns.pairs and self.program.overlaps_experts and self.layout.expert > 1

    @property
    def tokens(self) -> int:
        """Tokens of a step."""
        return self.batch * self.sequence

    def check(self) -> None:
        """Raise `UsageError` where it cannot be spread so, with the nearest that can."""
        layout, model = self.layout, self.model
        divides(model.heads, "attention heads", layout.tensor, "tensor")
        layers = len(model.layers)
        stages = layout.pipeline * layout.chunks
        if stages > layers:
            raise UsageError(
                f"{layers} layers do not fill pipeline {layout.pipeline} x chunks {layout.chunks}: "
                f"give at most {layers} together"
            )
        unlike = layout.turns.problem(layout.pipeline, layers, self.micro_batches)
        if unlike:
            raise UsageError(unlike)
        if layout.expert > 1:
            if not model.is_mixture:
                raise UsageError(f"expert {layout.expert}: {model.name} has no experts; leave it 1")
            divides(model.experts, "experts", layout.expert, "expert")
            room = layout.data * layout.context * layout.tensor
            divides(room, "chips of a stage", layout.expert, "expert")
        lacks = recomputation.missing(layout.recompute_parts, model)
        if lacks:
            needs = recomputation.parts()[lacks].needs
            raise UsageError(f"recompute {lacks}: {model.name} has not {needs}; leave it out")
        divides(self.sequence, "tokens of a sequence", layout.context, "context")
        divides(self.batch, "sequences of a step", layout.data * layout.micro_batch, "data x MB")


def divides(total: int, what: str, parts: int, name: str) -> None:
    """Raise `UsageError` where they do not, with the largest number of parts that does."""
    if total % parts:
        fits = max(n for n in range(1, min(parts, total) + 1) if total % n == 0)
        raise UsageError(f"{total} {what} do not divide by {name} {parts}; by {fits} they do")
