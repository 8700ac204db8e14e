"""The time of a training step: passes of stages, the pipeline around them, gradients, optimizer."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import log2

from cordee.hw.accelerator import Accelerator
from cordee.plan.costs.links import Group
from cordee.plan.costs.seconds import Costs, Spent
from cordee.plan.layout import Job
from cordee.plan.model import Layer
from cordee.plan.shares import Share, shares
from cordee.plan.work import Pass, embedding_pass, head_pass, layer_pass
from cordee.plan.work.operators import Collective, Matmul

ADAM_BYTES = 40  # read and written of a parameter: gradient and its norm, master, two moments


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """Everything that chips do in a step, counted once; a chip and a calibration give the time."""

    job: Job
    kinds: tuple[tuple[Layer, Pass], ...]
    head: Pass
    embedding: Pass
    groups: Mapping[str, Group]
    share: Share


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerTimes:
    """A layer and a micro-batch."""

    forward: Spent
    backward: Spent
    again: Spent
    """Of the forward pass, what is reckoned again where not the whole is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    """What a micro-batch takes; the same in every layout that shares out layers alike."""

    layers: Mapping[Layer, LayerTimes]
    head: Spent
    embedding: Spent


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


def groups_of(job: Job, chip: Accelerator) -> dict[str, Group]:
    """Where the layout puts the chips of each group: tensor inside, then context, data, stages."""
    layout = job.layout
    node = chip.supernode_chips or chip.chips_per_node
    tensor, context = layout.tensor, layout.context
    shard = layout.shard_chips or layout.data * context
    room = max(node // tensor, 1)
    in_data = max(node // (tensor * context), 1)
    stage = tensor * context * layout.data
    spread = layout.expert
    return {
        "tensor": Group(size=tensor, within=min(tensor, node)),
        "context": Group(size=context, within=min(context, room)),
        "data": Group(size=layout.data * context, within=min(layout.data * context, room)),
        "replicas": Group(size=layout.data, within=min(layout.data, in_data)),
        "shard": Group(size=shard, within=min(shard, room)),
        "expert": Group(size=spread, within=min(spread, node)),
        "pipeline": Group(size=layout.pipeline, within=2 if 2 * stage <= node else 1),
    }


def work_of(job: Job, chip: Accelerator) -> Work:
    """Count what a step takes."""
    return Work(
        job=job,
        kinds=tuple((layer, layer_pass(job, layer)) for layer in _kinds(job)),
        head=head_pass(job),
        embedding=embedding_pass(job),
        groups=groups_of(job, chip),
        share=shares(job),
    )


def _kinds(job: Job) -> set[Layer]:
    return {layer for layer, _ in job.model.kinds} | set(job.model.mtp_layers)


def step(work: Work, costs: Costs, known: Times | None = None) -> Step:
    """The time of a step: 1F1B, interleaved where a stage is in chunks.

    Narayanan et al., arxiv.org/abs/2104.04473, section 2.2: of M micro-batches over p stages in v
    chunks, (p - 1) / v are lost at the ends.
    """
    job = work.job
    layout = job.layout
    slowest, others = _stages(work, costs, known or times_of(work, costs))
    count = max(job.micro_batches, 1.0)
    send = _send_s(work, costs)
    hidden = job.program.overlaps_stages and layout.chunks > 1
    one = slowest.total + 2 * send * (costs.calibration.exposed if hidden else 1)
    bubble = others / layout.chunks + (layout.pipeline - 1) * send
    gradients = _gradients_s(work, costs, slowest.total * count)
    optimizer = _optimizer_s(work, costs)
    calibration = costs.calibration
    seconds = count * one + bubble + gradients + optimizer + calibration.step_s
    nodes = max(layout.chips / costs.chip.chips_per_node, 1)
    seconds *= calibration.pace * (1 + calibration.scale * log2(nodes))
    return Step(
        job=job,
        seconds=seconds,
        passes=slowest * count,
        bubble_s=bubble + count * (one - slowest.total),
        gradients_s=gradients,
        optimizer_s=optimizer,
    )


def times_of(work: Work, costs: Costs) -> Times:
    """The passes of one micro-batch, apart from what the pipeline makes of them."""
    layers = {}
    names = _again(work.job)
    for layer, kind in work.kinds:
        again = [op for op in kind.forward if op.name in names]
        layers[layer] = LayerTimes(
            forward=costs.spent(kind.forward, work.groups),
            backward=costs.spent(kind.backward, work.groups),
            again=costs.spent(again, work.groups) if again else Spent(),
        )
    return Times(
        layers=layers,
        head=_pass_spent(work, costs, work.head),
        embedding=_pass_spent(work, costs, work.embedding),
    )


def _stages(work: Work, costs: Costs, times: Times) -> tuple[Spent, float]:
    """A micro-batch on the slowest stage, and the seconds of the others' together."""
    job = work.job
    stages = job.layout.pipeline
    mean = Spent()
    for layer, count in job.model.kinds:
        mean += _layer_spent(work, costs, times.layers[layer]) * count
    total = mean.total
    # The slowest stage has the most layers there are; the loss comes with the last.
    per_stage = -(-len(job.model.layers) // stages)
    most = mean * (per_stage / len(job.model.layers))
    ends = times.head + times.embedding
    for layer in job.model.mtp_layers:
        ends += _layer_spent(work, costs, times.layers[layer]) + times.head
    if stages == 1:
        return most + ends, 0.0
    # Where layers do not divide, the last stage has what is left: the loss takes its place.
    left = len(job.model.layers) - per_stage * (stages - 1)
    last = most * (max(left, 0) / per_stage) + ends
    slowest = last if last.total > most.total else most
    return slowest, total + ends.total - min(slowest.total, total + ends.total)


def _again(job: Job) -> frozenset[str]:
    """Operators that the backward pass does once more."""
    if job.layout.recompute == "selective" and not job.program.fused_attention:
        # arxiv.org/abs/2205.05198, section 5: what is between the products of attention.
        return frozenset(("scores", "softmax", "weighted sums"))
    return frozenset()


def _layer_spent(work: Work, costs: Costs, times: LayerTimes) -> Spent:
    job = work.job
    layout = job.layout
    spent = times.forward + times.backward
    if layout.recompute == "full":
        layers = len(job.model.layers) / layout.pipeline
        share = 1.0 if layout.recompute_layers is None else min(layout.recompute_layers / layers, 1)
        spent += times.forward * share
    else:
        spent += times.again
    return spent + _sharded(work, costs, spent) if layout.zero == 3 else spent


def _sharded(work: Work, costs: Costs, spent: Spent) -> Spent:
    """Weights of a layer are gathered for each pass beside the work, and gradients scattered."""
    size = work.share.layer_bytes
    group = work.groups["shard"]
    gather = costs.links.seconds(Collective("weights", "gather", size, "shard"), group)
    scatter = costs.links.seconds(
        Collective("gradients", "scatter", size * work.job.program.gradient_bytes / 2, "shard"),
        group,
    )
    moved = 2 * gather + scatter
    share = costs.calibration.exposed_weights
    return Spent(exposed=moved * share + max(0.0, moved * (1 - share) - spent.total))


def _pass_spent(work: Work, costs: Costs, ends: Pass) -> Spent:
    return costs.spent(ends.forward, work.groups) + costs.spent(ends.backward, work.groups)


def _send_s(work: Work, costs: Costs) -> float:
    """Between stages, of one micro-batch over all chunks in one direction."""
    layout, job = work.job.layout, work.job
    if layout.pipeline == 1:
        return 0.0
    tokens = layout.micro_batch * job.sequence / layout.context
    # Each chip of `tensor` sends its part: arxiv.org/abs/2104.04473, section 4.1.
    size = tokens * job.model.hidden * 2 / layout.tensor
    message = Collective("between stages", "send", size, "pipeline")
    return costs.collective_s(message, work.groups) * layout.chunks


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
    return costs.vector_s(work.share.optimizer_parameters * ADAM_BYTES, 20)


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
    return 3 * found * job.batch
