"""The cluster that a model is trained on: replicas, steps and times from its best layout."""

from dataclasses import dataclass

from cordee.hw.accelerator import Accelerator
from cordee.plan.compare import Request, outcome
from cordee.plan.model import Model
from cordee.plan.search import Plan

USUAL_NETWORK_BYTES_PER_S = 25e9
"""Of a chip for which no source says it: 200 Gbit/s."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """What a simulation must know of a layout."""

    words: str
    chips: int
    group_chips: int
    step_s: float
    gradients_s: float
    """Of the step, while replicas add up gradients and nothing else happens."""
    shards: int
    stages: int
    feed_s: float
    """How long a replica is given its state: each chip its part, over its own link to the network."""
    parameters: float


def trained(model: Model, chip: Accelerator, chips: int, sequence: int, batch: int) -> Trained:
    """The best layout. Raises `UsageError` where none fits."""
    request = Request(model=model, sequence=sequence, batch=batch, chips=chips)
    return _of(outcome(request, chip, None).best, chip)


def _of(plan: Plan, chip: Accelerator) -> Trained:
    job, memory = plan.job, plan.memory
    layout = job.layout
    # Where the optimizer is shared out, the chips of a replica hold all of it only with the others'.
    parts = layout.data if layout.zero else 1
    state_bytes = memory.weights + memory.optimizer * parts
    rate = chip.network_bytes_per_s or USUAL_NETWORK_BYTES_PER_S
    return Trained(
        words=layout.words,
        chips=layout.chips,
        group_chips=layout.chips // layout.data,
        step_s=plan.step.seconds,
        gradients_s=plan.step.gradients_s,
        shards=max(1, round(job.micro_batches)),
        stages=layout.pipeline,
        feed_s=state_bytes / rate,
        parameters=job.model.parameters,
    )
