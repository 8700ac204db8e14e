"""What a layer keeps of a micro-batch for its backward pass.

It follows Korthikanti et al., arxiv.org/abs/2205.05198, section 4, with fused attention: scores are not kept. Of
experts it is what comes into their first products and both sides of their function: Megatron-LM d98e8a6 weighs what they
give inside it (megatron/core/transformer/moe/token_dispatcher.py: `unpermute` without probabilities).
"""

from collections.abc import Collection
from dataclasses import dataclass
from functools import lru_cache

from cordee.plan.layout import Job, Program
from cordee.plan.model import (
    Attention,
    CompressedAttention,
    Experts,
    LatentAttention,
    Layer,
    Mlp,
    SelectiveScan,
    StateSpace,
)
from cordee.plan.work import Matmul, forward_operators
from cordee.plan.work.layers import SCORES

HALF = 2.0  # bytes of a number in 16 bits
NARROW = {"fp8": 1.0, "fp4": 0.5}
"""Bytes of a number that came into a product and is kept as it was multiplied: github.com/NVIDIA/TransformerEngine
transformer_engine/pytorch/module/linear.py, what `_Linear.forward` saves."""
SCALES = {"fp8": 4 / 128, "fp4": 1 / 16}
"""And of its part of a block's scale: four bytes for 128 numbers, or one for 32 (MX); one for 16 (NVFP4)."""


def kept_bytes(job: Job, layer: Layer, recompute: str | None = None) -> float:
    """Of one layer and one micro-batch; `recompute`: as its layout, "none", "parts" of it or "full"."""
    layout = job.layout
    tokens = layout.micro_batch * job.sequence / layout.context
    split = layout.tensor if layout.sequence_parallel else 1
    hidden = job.model.hidden
    if (recompute or layout.recompute) == "full":
        return HALF * tokens * layer.streams * hidden / split
    again = frozenset() if recompute == "none" else frozenset(layout.recompute_parts)
    # Before each part's norm, which sums read, too.
    shared = layer.sums * layer.streams * HALF * hidden + _normed(job, layer, again)
    mixed = sum(_mixing(job, one, again) for one in layer.mixers)
    return tokens * (shared / split + mixed + (_mlp(job, layer.mlp, again) if layer.mlp else 0.0))


def input_bytes(program: Program) -> float:
    """Of a number that comes into a product and is kept for the gradient of its weights."""
    narrow = NARROW.get(program.dtype)
    if narrow is None:
        return HALF
    return narrow + (SCALES[program.dtype] if program.blocks or program.dtype == "fp4" else 0)


@dataclass(frozen=True, slots=True, eq=False)
class _Alike:
    """A job, the same as all whose layers have the same products."""

    job: Job

    def __hash__(self) -> int:
        return hash(self._key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Alike) and self._key == other._key

    @property
    def _key(self) -> tuple[object, ...]:
        job, layout = self.job, self.job.layout
        spread = layout.tensor, layout.context, layout.expert, layout.sequence_parallel
        return id(job.model), job.sequence, layout.micro_batch, *spread, job.program


def waiting_bytes(job: Job, layer: Layer) -> float:
    """Of one layer and one micro-batch, for gradients of weights: inputs of products, gradients of results.

    Qi et al., arxiv.org/abs/2401.10241, table 1.
    """
    return _waiting_bytes(_Alike(job), layer)


@lru_cache(maxsize=256)
def _waiting_bytes(alike: _Alike, layer: Layer) -> float:
    """Searches ask for the same many times."""
    job = alike.job
    layout = job.layout
    split = layout.tensor if layout.sequence_parallel else 1
    found, each = 0.0, input_bytes(job.program)
    for operator in forward_operators(job, layer):
        if isinstance(operator, Matmul) and operator.name not in SCORES:
            sides = (
                size / (split if size == job.model.hidden and not operator.is_expert else 1)
                for size in (operator.k, operator.n)
            )
            found += each * operator.m * operator.count * sum(sides)
    return found


def _normed(job: Job, layer: Layer, again: Collection[str]) -> float:
    """Bytes of a token behind both norms, where products read it."""
    if "layernorm" in again:
        return 0.0
    each = input_bytes(job.program)
    # A router, and a part that is reckoned again as a whole, read it in 16 bits.
    wide = isinstance(layer.mlp, Experts) or "mlp" in again
    parts = (each if layer.mixers else 0.0) + ((HALF if wide else each) if layer.mlp else 0.0)
    return job.model.hidden * parts


def _mixing(job: Job, attention: Attention, again: Collection[str]) -> float:
    """Bytes of a token, of what makes it look at others."""
    tensor = job.layout.tensor
    if isinstance(attention, StateSpace | SelectiveScan):
        # What the first product gives, what the scan does, and that with its gate, which goes into the last; the filter
        # is applied again, and so are states: github.com/state-spaces/mamba e9594ce mamba_ssm/ops/triton/ssd_combined.py,
        # line 888.
        inner = attention.heads * attention.value_size / tensor
        kept = HALF * (attention.columns(tensor) + inner)
        return kept + input_bytes(job.program) * inner
    if isinstance(attention, CompressedAttention):
        heads = attention.heads * attention.head_size / tensor
        return HALF * (2 * heads + 2 * attention.short + attention.out_rows / tensor)
    return _attention(job, attention, again)


def _attention(job: Job, attention: Attention, again: Collection[str]) -> float:
    """Bytes of a token: queries, keys, values, what attention gives, and its sums in fp32."""
    layout = job.layout
    heads = attention.heads / layout.tensor
    keys = max(attention.kv_heads / layout.tensor, 1)
    found = HALF * heads * attention.value_size
    is_latent = isinstance(attention, LatentAttention)
    if not (is_latent and "mla_up_proj" in again):
        made = heads * attention.score_size + keys * (attention.score_size + attention.value_size)
        found += HALF * made
    if "core_attn" not in again:
        found += 4 * heads
        if not job.program.fused_attention and layout.recompute != "selective":
            found += 5 * heads * job.sequence / layout.context
    if isinstance(attention, LatentAttention):
        normed = attention.kv_rank + attention.rope_size + (attention.query_rank or 0)
        behind = 0.0 if "mla_up_proj" in again else input_bytes(job.program)
        found += (HALF + behind) * normed
    return found


def _mlp(job: Job, mlp: Mlp | Experts, again: Collection[str]) -> float:
    """Bytes of a token: both sides of the function, and copies that go to experts."""
    tensor = job.layout.tensor
    if isinstance(mlp, Mlp):
        return 0.0 if "mlp" in again else _sides(job, mlp, "mlp_act" in again) / tensor
    if "moe" in again:
        return 0.0
    inner = tensor if job.layout.expert == 1 else 1
    rows = mlp.chosen / (tensor if inner == 1 else 1)
    one = _sides(job, mlp.expert, "moe_act" in again) / inner
    copies = (
        0.0 if "moe_tokens" in again else input_bytes(job.program) * mlp.width(job.model.hidden)
    )
    shared = 0.0
    if mlp.shared and "shared_experts" not in again:
        shared = _sides(job, mlp.shared, "mlp_act" in again) / tensor
    return rows * (one + copies) + shared


def _sides(job: Job, mlp: Mlp, again: bool) -> float:
    """Of the function between two products: what came into it, and what it gave."""
    before = 1.0 if job.program.narrow_function else HALF
    behind = 0.0 if again else input_bytes(job.program)
    return before * mlp.in_size + behind * mlp.size
