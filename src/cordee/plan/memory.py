"""Memory of the chip that needs most in a training step: weights, gradients, optimizer, activations.

What is kept of a layer for its backward pass is in kept.py. Of a pipeline in 1F1B, the first stage keeps most
micro-batches: Narayanan et al., arxiv.org/abs/2104.04473, section 2.2; for others pipeline/schedules.toml
has how much is kept.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from cordee.hw.accelerator import Accelerator
from cordee.plan.kept import NARROW, kept_bytes, waiting_bytes
from cordee.plan.layout import Job, Program
from cordee.plan.pipeline.schedules import counted
from cordee.plan.shares import Share, shares

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
    shorter = job.layout.at_ends(len(job.model.layers))
    if shorter == 1:
        return _held(job, share, 1.0)
    # A chip with fewer layers has the tables and the loss.
    middle = replace(_held(job, share.of(layers=1, tables=0), 1.0), buffers=0.0)
    end = _held(job, share.of(layers=shorter, tables=1), shorter)
    return max(middle, end, key=lambda one: one.total)


def _held(job: Job, share: Share, layers: float) -> Memory:
    """Of a chip with such a share, and that part of the fullest one's layers."""
    layout, program = job.layout, job.program
    parameters = share.dense_parameters + share.expert_parameters
    trained = parameters if program.trains_all else parameters * 0.01
    sharded = layout.data * layout.context
    kept = share.optimizer_parameters if program.trains_all else trained
    weights = 2 * parameters / sharded if layout.zero == 3 else _weights(share, program)
    gradients = program.gradient_bytes * trained / (sharded if layout.zero >= 2 else 1)
    return Memory(
        weights=weights * SLACK,
        gradients=gradients * SLACK,
        optimizer=program.state_bytes * (1 - program.optimizer_on_host) * kept * SLACK,
        activations=activations(job) * layers * SLACK,
        buffers=_buffers(job, share),
    )


def activations(job: Job) -> float:
    """Bytes of all micro-batches that the fullest stage keeps."""
    layout, kinds = job.layout, job.model.kinds
    layers = layout.fullest(len(job.model.layers))
    kept = [kept_bytes(job, layer, "parts") for layer, _ in kinds]
    # Without parts a layer is as it is kept; with them, one at a time is whole again while its backward pass runs.
    whole = (
        [kept_bytes(job, layer, "none") for layer, _ in kinds] if layout.recompute_parts else kept
    )
    plain = _mean(job, kept)
    if layout.recompute != "full":
        freed = max((more - less for more, less in zip(whole, kept, strict=True)), default=0.0)
        return _in_flight(job, plain * layers) + freed
    again = min(layout.recompute_layers or layers, layers)
    mean = _mean(job, [kept_bytes(job, layer) for layer, _ in kinds])
    return _in_flight(job, mean * again + plain * (layers - again)) + max(whole, default=0.0)


def _mean(job: Job, kept: Sequence[float]) -> float:
    """Of a layer, from what those of each kind keep."""
    counts = (count for _, count in job.model.kinds)
    whole = sum(one * count for one, count in zip(kept, counts, strict=True))
    return whole / len(job.model.layers)


def _weights(share: Share, program: Program) -> float:
    """Bytes of weights; in few bits also turned round, and beside those in 16 where these are kept, too.

    github.com/NVIDIA/TransformerEngine transformer_engine/pytorch/module/linear.py: `primary_weights_in_fp8`.
    """
    parameters = share.dense_parameters + share.expert_parameters
    narrow = 2 * NARROW.get(program.dtype, 0.0)
    if not narrow:
        return 2 * parameters
    products = parameters - share.table_parameters
    return (
        2 * share.table_parameters + (narrow if program.narrow_weights else 2 + narrow) * products
    )


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
