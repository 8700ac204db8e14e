"""Everything that chips do in a training step, counted once; a chip and a calibration give the time."""

from collections.abc import Mapping
from dataclasses import dataclass

from cordee.hw.accelerator import Accelerator
from cordee.plan.costs.links import Group
from cordee.plan.layout import Job
from cordee.plan.model import Layer
from cordee.plan.shares import Share, shares
from cordee.plan.work import Pass, embedding_pass, head_pass, layer_pass


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What is in a step."""

    job: Job
    kinds: tuple[tuple[Layer, Pass], ...]
    head: Pass
    embedding: Pass
    groups: Mapping[str, Group]
    share: Share


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
