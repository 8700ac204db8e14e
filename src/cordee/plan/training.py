"""The time of a training step: passes of stages, the pipeline around them, gradients, optimizer."""

from dataclasses import dataclass
from math import log2

from cordee.plan.costs.calibration import Calibration
from cordee.plan.costs.links import Group
from cordee.plan.costs.seconds import Costs, Spent
from cordee.plan.layout import Job
from cordee.plan.pipeline.bubbles import Pipe, bubble_s
from cordee.plan.pipeline.schedules import counted
from cordee.plan.stages import Times, stages_of, times_of
from cordee.plan.step_work import Work
from cordee.plan.work import head_pass, layer_pass
from cordee.plan.work.operators import Collective, Matmul

ADAM_BYTES = 40  # read and written of a parameter: gradient and its norm, master, two moments
STATE_BYTES = 12  # of these, master and moments in fp32


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A step, and where its time goes."""

    job: Job
    seconds: float
    passes: Spent
    """Of the slowest stage, over all micro-batches."""
    bubble_s: float
    """Stages wait for one another."""
    gradients_s: float
    """Gradients and weights travel and are waited for."""
    optimizer_s: float

    @property
    def tokens_per_s_per_chip(self) -> float:
        """Tokens of all sequences, by time and chips."""
        return self.job.tokens / self.seconds / self.job.layout.chips

    @property
    def parts(self) -> dict[str, float]:
        """Where its seconds go, by name; they add up to it."""
        found = {
            "matrix products": self.passes.matmul,
            "attention": self.passes.attention,
            "vector kernels": self.passes.vector,
            "collectives": self.passes.exposed,
            "host": self.passes.host,
            "pipeline": self.bubble_s,
            "gradients": self.gradients_s,
            "optimizer": self.optimizer_s,
        }
        return found | {"scale and version": max(self.seconds - sum(found.values()), 0.0)}


def step(work: Work, costs: Costs, known: Times | None = None) -> Step:
    """The time of a step: passes of the slowest stage, what the schedule loses, and what comes after it."""
    job = work.job
    layout = job.layout
    slowest, others = stages_of(work, costs, known or times_of(work, costs))
    count = max(job.micro_batches, 1.0)
    send, passes = _send_s(work, costs), slowest.spent
    one = passes.total + _sends_between(job, costs.calibration) * send
    pipe = Pipe(
        schedule=layout.turns,
        stages=layout.pipeline,
        chunks=layout.chunks,
        micro_batches=count,
        together=job.program.waits_for_all,
    )
    bubble = bubble_s(pipe, slowest.seconds, others)
    ends = counted(layout.turns.sends, layout.pipeline) * send
    bubble += ends / layout.chunks if layout.turns.splits else ends
    gradients = _gradients_s(work, costs, passes.total * count)
    optimizer = _optimizer_s(work, costs)
    calibration = costs.calibration
    seconds = count * one + bubble + gradients + optimizer + calibration.step_s
    nodes = max(layout.chips / costs.chip.chips_per_node, 1)
    seconds *= calibration.pace * (1 + calibration.scale * log2(nodes))
    return Step(
        job=job,
        seconds=seconds,
        passes=passes * count,
        bubble_s=bubble + count * (one - passes.total),
        gradients_s=gradients,
        optimizer_s=optimizer,
    )


def _sends_between(job: Job, calibration: Calibration) -> float:
    """How many messages between stages a micro-batch waits for, there and back."""
    layout, turns = job.layout, job.layout.turns
    if turns.splits and not turns.pairs:
        return 0.0  # gradients of weights run beside them: arxiv.org/abs/2401.10241, section 3.1
    hidden = turns.pairs or (job.program.overlaps_stages and layout.chunks > 1)
    return 2 * (calibration.exposed if hidden else 1.0)


def _send_s(work: Work, costs: Costs) -> float:
    """Between stages, of one micro-batch over all pieces of a stage in one direction."""
    layout, job = work.job.layout, work.job
    if layout.pipeline == 1:
        return 0.0
    tokens = layout.micro_batch * job.sequence / layout.context
    # Each chip of `tensor` sends its part: arxiv.org/abs/2104.04473, section 4.1.
    size = tokens * job.model.hidden * 2 / layout.tensor
    message = Collective("between stages", "send", size, "pipeline")
    return costs.collective_s(message, work.groups) * layout.chunks * layout.turns.pieces


def _gradients_s(work: Work, costs: Costs, passes_s: float) -> float:
    """Sums of gradients over replicas, and the way back of weights where the optimizer is shared."""
    layout, program = work.job.layout, work.job.program
    if layout.data * layout.context == 1 or not program.trains_all or layout.zero == 3:
        return 0.0
    size = work.share.dense_parameters * program.gradient_bytes
    if layout.zero == 0:
        moved = costs.collective_s(Collective("gradients", "reduce", size, "data"), work.groups)
    else:
        moved = costs.collective_s(Collective("gradients", "scatter", size, "data"), work.groups)
        weights = work.share.dense_parameters * 2
        moved += costs.collective_s(Collective("weights", "gather", weights, "data"), work.groups)
    moved += _expert_gradients_s(work, costs)
    if not program.overlaps_gradients:
        return moved
    share = costs.calibration.exposed
    # The last micro-batch's backward pass runs beside them; of chunks, those of all stages' last ones.
    count = max(work.job.micro_batches, 1)
    last = min(layout.pipeline, count) * (layout.chunks - 1) / layout.chunks
    beside = passes_s / count * max(last, 1) * 0.6
    return moved * share + max(0.0, moved * (1 - share) - beside)


def _expert_gradients_s(work: Work, costs: Costs) -> float:
    layout = work.job.layout
    copies = layout.data * layout.context * (layout.tensor if layout.expert > 1 else 1)
    copies //= layout.expert
    if not work.share.expert_parameters or copies <= 1:
        return 0.0
    node = costs.chip.supernode_chips or costs.chip.chips_per_node
    group = Group(size=copies, within=min(copies, max(node // layout.expert, 1)))
    size = work.share.expert_parameters * (work.job.program.gradient_bytes + 2)
    return costs.links.seconds(Collective("experts' gradients", "scatter", size, "data"), group)


def _optimizer_s(work: Work, costs: Costs) -> float:
    """Adam reads and writes its states of the parameters that a chip has of them."""
    if not work.job.program.trains_all:
        return 0.0
    # States that are narrower, read and written.
    moved = ADAM_BYTES - 2 * (STATE_BYTES - work.job.program.state_bytes)
    return costs.vector_s(work.share.optimizer_parameters * moved, 20)


def model_flops(job: Job) -> float:
    """Of a step as MFU counts them: products forward and twice backward, no recomputation.

    Korthikanti et al., arxiv.org/abs/2205.05198, appendix A; attention over all tokens that are seen.
    """
    plain = Job(
        model=job.model,
        layout=type(job.layout)(chips=1, zero=0),
        sequence=job.sequence,
        batch=1,
        program=job.program,
    )
    found = 0.0
    for layer, count in job.model.kinds:
        for operator in layer_pass(plain, layer).forward:
            found += count * getattr(operator, "flops", 0.0)
    found += sum(op.flops for op in head_pass(plain).forward if isinstance(op, Matmul))
    # Where few weights are trained (LoRA), backward are only the gradients of what goes in.
    return (3 if job.program.trains_all else 2) * found * job.batch
