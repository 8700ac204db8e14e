"""What a micro-batch takes on the slowest stage of a pipeline, and on all others together."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from cordee.plan.costs.seconds import Costs, Spent
from cordee.plan.layout import Job
from cordee.plan.model import Layer
from cordee.plan.pipeline.bubbles import Seconds
from cordee.plan.recomputation import operators_of
from cordee.plan.step_work import Work
from cordee.plan.work import Collective, Matmul, Operator, Pass, weight_gradients


@dataclass(frozen=True, slots=True)
class Stage:
    """A micro-batch on some layers."""

    spent: Spent
    """By kind of work; where passes are paired, of a pair."""
    seconds: Seconds
    """By kind of pass, each by itself."""

    def __add__(self, other: "Stage") -> "Stage":
        return Stage(self.spent + other.spent, self.seconds + other.seconds)

    def __mul__(self, times: float) -> "Stage":
        return Stage(self.spent * times, self.seconds * times)


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerTimes:
    """A layer and a micro-batch."""

    forward: Spent
    backward: Spent
    again: Spent
    """Of the forward pass, what is reckoned again where not the whole is."""
    weights_s: float = 0.0
    """Of the backward pass, gradients of weights."""
    paired: Spent | None = None
    """Forward and backward as one, where passes are paired."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    """What a micro-batch takes; the same in every layout that shares out layers alike."""

    layers: Mapping[Layer, LayerTimes]
    head: Stage
    embedding: Stage


def times_of(work: Work, costs: Costs) -> Times:
    """The passes of one micro-batch, apart from what the pipeline makes of them."""
    job = work.job
    layers = {}
    for layer, kind in work.kinds:
        alone = _alone(kind) if job.hides_pairs else kind
        names = _again(job, layer)
        again = [op for op in alone.forward if op.name in names]
        layers[layer] = LayerTimes(
            forward=costs.spent(alone.forward, work.groups),
            backward=costs.spent(alone.backward, work.groups),
            again=costs.spent(again, work.groups) if again else Spent(),
            weights_s=_weights_s(work, costs, alone.forward),
            paired=costs.spent((*kind.forward, *kind.backward), work.groups)
            if job.hides_pairs
            else None,
        )
    return Times(
        layers=layers,
        head=_end(work, costs, work.head),
        embedding=_end(work, costs, work.embedding),
    )


def _alone(kind: Pass) -> Pass:
    """A pass with no other beside it, behind which tokens could travel to experts."""
    return Pass(tuple(_shown(kind.forward)), tuple(_shown(kind.backward)))


def _shown(operators: Sequence[Operator]) -> Iterator[Operator]:
    for operator in operators:
        if isinstance(operator, Collective) and operator.group == "expert":
            yield replace(operator, hidden=False)
        else:
            yield operator


def _weights_s(work: Work, costs: Costs, operators: Sequence[Operator]) -> float:
    """Of gradients of the weights of these, where they are passes of their own."""
    if not work.job.layout.turns.splits:
        return 0.0
    return costs.spent(weight_gradients(work.job, operators), work.groups).total


def _end(work: Work, costs: Costs, ends: Pass) -> Stage:
    forward = costs.spent(ends.forward, work.groups)
    backward = costs.spent(ends.backward, work.groups)
    products = [operator for operator in ends.forward if isinstance(operator, Matmul)]
    return _stage(forward + backward, forward.total, _weights_s(work, costs, products))


def _stage(spent: Spent, forward_s: float, weights_s: float, pair: Spent | None = None) -> Stage:
    alone = Seconds(
        forward=forward_s,
        inputs=spent.total - forward_s - weights_s,
        weights=weights_s,
        saved=max(spent.total - pair.total, 0.0) if pair else 0.0,
    )
    return Stage(pair or spent, alone)


def stages_of(work: Work, costs: Costs, times: Times) -> tuple[Stage, Seconds]:
    """A micro-batch on the slowest stage, and the seconds of the others together."""
    job = work.job
    layout, layers = job.layout, len(job.model.layers)
    whole = Stage(Spent(), Seconds(forward=0.0, inputs=0.0, weights=0.0))
    for layer, count in job.model.kinds:
        whole += _layer(work, costs, times.layers[layer]) * count
    # The slowest stage has the most layers there are; the loss comes with the last.
    per_stage = layout.fullest(layers)
    most = whole * (per_stage / layers)
    ends = times.head + times.embedding
    for layer in job.model.mtp_layers:
        ends += _layer(work, costs, times.layers[layer]) + times.head
    if layout.pipeline == 1:
        return most + ends, (most + ends).seconds * 0.0
    # Where layers do not divide, the last stage has what is left: the loss takes its place.
    left = layers - per_stage * (layout.pipeline - 1)
    last = most * (max(left, 0) / per_stage) + ends
    if layout.turns.copies > 1:
        last = (most + last) * 0.5  # half of its micro-batches pass through its first layers
    slowest = last if last.spent.total > most.spent.total else most
    return slowest, (whole + ends).seconds + slowest.seconds * -1.0


def _again(job: Job, layer: Layer) -> frozenset[str]:
    """Operators of a layer that the backward pass does once more, where not all are."""
    names = operators_of(job.layout.recompute_parts, layer)
    if job.layout.recompute == "selective" and not job.program.fused_attention:
        # arxiv.org/abs/2205.05198, section 5: what is between the products of attention.
        names |= {"scores", "softmax", "weighted sums"}
    return names


def _layer(work: Work, costs: Costs, times: LayerTimes) -> Stage:
    job = work.job
    layout = job.layout
    more = times.again
    if layout.recompute == "full":
        layers = len(job.model.layers) / layout.pipeline
        share = 1.0 if layout.recompute_layers is None else min(layout.recompute_layers / layers, 1)
        more = times.forward * share + times.again * (1 - share)
    spent = times.forward + times.backward + more
    if layout.zero == 3:
        spent += _sharded(work, costs, spent)
    pair = times.paired + more if times.paired else None
    return _stage(spent, times.forward.total, times.weights_s, pair)


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
