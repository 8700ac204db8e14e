"""Memory of the chip that needs most in a training step: weights, gradients, optimizer, activations.

What is kept of a layer for its backward pass follows Korthikanti et al., arxiv.org/abs/2205.05198,
section 4, with fused attention: scores are not kept. Of a pipeline in 1F1B, the first stage keeps most
micro-batches: Narayanan et al., arxiv.org/abs/2104.04473, section 2.2; for others pipeline/schedules.toml
has how much is kept.
"""

from dataclasses import dataclass

from cordee.hw.accelerator import Accelerator
from cordee.plan.layout import Job
from cordee.plan.model import Experts, LatentAttention, Layer, Mlp
from cordee.plan.pipeline.schedules import counted
from cordee.plan.shares import Share, shares
from cordee.plan.work import Matmul, forward_operators
from cordee.plan.work.layers import SCORES

OWN_BYTES = 1.5 * 2**30
"""What driver, libraries and buffers of collectives take: of 60.9 GiB that a 64 GiB chip reports, and
of a CUDA context with NCCL, one to two."""
ROOM = 0.95
"""Of a chip's memory, what a plan fills at most: sizes of batches and of experts' shares vary."""
SLACK = 1.02
"""What the allocator cannot hand out again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """Bytes on the fullest chip."""

    weights: float
    gradients: float
    optimizer: float
    activations: float
    buffers: float
    """Weights that are gathered, logits of the loss."""
    libraries: float = OWN_BYTES

    @property
    def allocated(self) -> float:
        """What the framework's allocator has at its peak."""
        return self.weights + self.gradients + self.optimizer + self.activations + self.buffers

    @property
    def total(self) -> float:
        """The same with what libraries take."""
        return self.allocated + self.libraries

    def fits(self, chip: Accelerator) -> bool:
        """Whether the chip has as much, with some room left."""
        return self.total <= ROOM * chip.memory_bytes


def memory(job: Job, share: Share | None = None) -> Memory:
    """Count what the fullest chip holds; its part of the parameters may be known."""
    share = share or shares(job)
    layout, program = job.layout, job.program
    parameters = share.dense_parameters + share.expert_parameters
    trained = parameters if program.trains_all else parameters * 0.01
    sharded = layout.data * layout.context
    kept = share.optimizer_parameters if program.trains_all else trained
    weights = 2 * parameters / (sharded if layout.zero == 3 else 1)
    gradients = program.gradient_bytes * trained / (sharded if layout.zero >= 2 else 1)
    return Memory(
        weights=weights * SLACK,
        gradients=gradients * SLACK,
        optimizer=12 * kept * SLACK,
        activations=activations(job) * SLACK,
        buffers=_buffers(job, share),
    )


def activations(job: Job) -> float:
    """Bytes of all micro-batches that the fullest stage keeps."""
    layout, model = job.layout, job.model
    layers = layout.fullest(len(model.layers))
    mean = sum(kept_bytes(job, layer) * n for layer, n in model.kinds) / len(model.layers)
    if layout.recompute != "full":
        return _in_flight(job, mean * layers)
    again = min(layout.recompute_layers or layers, layers)
    plain = sum(kept_bytes(job, layer, "none") * n for layer, n in model.kinds) / len(model.layers)
    whole = max((kept_bytes(job, layer, "none") for layer, _ in model.kinds), default=0.0)
    # One layer at a time is whole again while its backward pass runs.
    return _in_flight(job, mean * again + plain * (layers - again)) + whole


def _in_flight(job: Job, stage_bytes: float) -> float:
    """All of which a stage keeps so much for each micro-batch, and what gradients of weights wait with."""
    layout, turns = job.layout, job.layout.turns
    if not turns.splits:
        return stage_bytes * in_flight(job)
    pieces = turns.pieces * layout.chunks
    counts = [counted(count, layout.pipeline) for count in (turns.kept, turns.late, turns.beside)]
    if layout.chunks > 1:
        # One round of all chunks more is whole, and of the first chip, one for each other chip.
        more = layout.pipeline * (layout.chunks - 1)
        counts = [counts[0] + more + layout.pipeline - 1, counts[1], counts[2] + more]
    kept, late, beside = (min(count, max(job.micro_batches, 1.0) * pieces) for count in counts)
    layers, model = layout.fullest(len(job.model.layers)), job.model
    waiting = sum(waiting_bytes(job, layer) * n for layer, n in model.kinds) / len(model.layers)
    return max(kept * stage_bytes, beside * stage_bytes + late * waiting * layers) / pieces


def in_flight(job: Job) -> float:
    """Micro-batches of which the first stage keeps something in 1F1B; parts of one with chunks."""
    layout = job.layout
    stages, chunks = layout.pipeline, layout.chunks
    most = stages + (stages - 1) / chunks if chunks > 1 else stages
    if job.program.overlaps_experts and layout.expert > 1 and (stages == 1 or chunks > 1):
        # One more pass is ahead, to have another beside each: github.com/NVIDIA/Megatron-LM d98e8a6
        # megatron/core/pipeline_parallel/schedules.py, get_pp_rank_microbatches.
        most += 1 / chunks
    return min(most, max(job.micro_batches, 1.0))


def waiting_bytes(job: Job, layer: Layer) -> float:
    """Of one layer and one micro-batch, for gradients of weights: inputs of products, gradients of results.

    Qi et al., arxiv.org/abs/2401.10241, table 1.
    """
    layout = job.layout
    split = layout.tensor if layout.sequence_parallel else 1
    found = 0.0
    for operator in forward_operators(job, layer):
        if isinstance(operator, Matmul) and operator.name not in SCORES:
            sides = (
                size / (split if size == job.model.hidden and not operator.is_expert else 1)
                for size in (operator.k, operator.n)
            )
            found += 2 * operator.m * operator.count * sum(sides)
    return found


def kept_bytes(job: Job, layer: Layer, recompute: str | None = None) -> float:
    """Of one layer and one micro-batch, for the backward pass."""
    layout = job.layout
    tokens = layout.micro_batch * job.sequence / layout.context
    split = layout.tensor if layout.sequence_parallel else 1
    hidden = job.model.hidden
    if (recompute or layout.recompute) == "full":
        return 2 * tokens * hidden / split
    # Before and behind both norms, which is what products and sums read: 2 bytes each.
    shared = 2 * 4 * tokens * hidden / split
    return shared + tokens * (_attention(job, layer) + _mlp(job, layer.mlp))


def _attention(job: Job, layer: Layer) -> float:
    """Bytes of a token: queries, keys, values, what attention gives, and its sums in fp32."""
    attention, layout = layer.attention, job.layout
    heads = attention.heads / layout.tensor
    keys = max(attention.kv_heads / layout.tensor, 1)
    numbers = heads * (attention.score_size + attention.value_size)
    numbers += keys * (attention.score_size + attention.value_size)
    found = 2 * numbers + 4 * heads
    if isinstance(attention, LatentAttention):
        found += 4 * (attention.kv_rank + attention.rope_size + (attention.query_rank or 0))
    if not job.program.fused_attention and layout.recompute == "none":
        found += 5 * heads * job.sequence / layout.context
    return found


def _mlp(job: Job, mlp: Mlp | Experts) -> float:
    """Bytes of a token: both sides of the function, and copies that go to experts."""
    tensor = job.layout.tensor
    if isinstance(mlp, Mlp):
        return 2 * (mlp.in_size + mlp.size) / tensor
    inner = tensor if job.layout.expert == 1 else 1
    rows = mlp.chosen / (tensor if inner == 1 else 1)
    one = 2 * (mlp.expert.in_size + mlp.expert.size) / inner
    copies = 2 * 2 * job.model.hidden
    shared = 2 * (mlp.shared.in_size + mlp.shared.size) / tensor if mlp.shared else 0
    return rows * (one + copies) + shared


def _buffers(job: Job, share: Share) -> float:
    layout = job.layout
    tokens = layout.micro_batch * job.sequence / layout.context
    found = 0.0
    if layout.pipeline == 1 or layout.turns.folds:
        # Logits in fp32, and their gradient in 16 bits.
        found += tokens * job.model.vocabulary / layout.tensor * 6
    if layout.zero == 3:
        found += 2 * share.layer_bytes
    return found
