"""A training step as one row of a table: model, chips, layout, and what the program does."""

from dataclasses import dataclass

from cordee.core.facts import Fact
from cordee.plan.layout import Job, Layout, Program
from cordee.plan.model import Model
from cordee.plan.recomputation import WHOLE, named


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration(Fact):
    """Fields as in `Layout` and `Program`, under the same names."""

    model: str
    chip: str
    stack: str = ""
    """The software."""
    sequence: int
    batch: int
    chips: int
    tensor: int = 1
    pipeline: int = 1
    context: int = 1
    micro_batch: int = 1
    chunks: int = 1
    schedule: str = "1f1b"
    expert: int = 1
    zero: int = 1
    recompute: str = "none"
    """A word of `Layout`, or parts of layers with commas."""
    recompute_layers: int | None = None
    context_kind: str = "ring"
    sequence_parallel: bool = True
    dtype: str = "bf16"
    fused_attention: bool = True
    fused_norm: bool = True
    fused_activation: bool = True
    overlaps_tensor: bool = False
    overlaps_gradients: bool = True
    trains_all: bool = True
    gradient_bytes: int = 4
    narrow_weights: bool = False
    narrow_function: bool = False
    master_bytes: float = 4
    moment_bytes: float = 8
    optimizer_on_host: float = 0.0
    overlaps_stages: bool = False
    overlaps_experts: bool = False
    dispatch: str = "exchange"
    narrow_attention: bool = False
    blocks: bool = False
    waits_for_all: bool = True

    def job(self, model: Model, micro_batch: int) -> Job:
        """The step, with the model that its name stands for."""
        whole = self.recompute in WHOLE
        layout = Layout(
            chips=self.chips,
            tensor=self.tensor,
            pipeline=self.pipeline,
            chunks=self.chunks,
            schedule=self.schedule,
            context=self.context,
            expert=self.expert,
            micro_batch=micro_batch,
            zero=self.zero,
            sequence_parallel=self.sequence_parallel,
            recompute=self.recompute if whole else "none",
            recompute_layers=self.recompute_layers,
            recompute_parts=() if whole else named((self.recompute,)),
            context_kind=self.context_kind,
        )
        program = Program(
            dtype=self.dtype,
            fused_attention=self.fused_attention,
            fused_norm=self.fused_norm,
            fused_activation=self.fused_activation,
            overlaps_tensor=self.overlaps_tensor,
            overlaps_gradients=self.overlaps_gradients,
            trains_all=self.trains_all,
            gradient_bytes=self.gradient_bytes,
            narrow_weights=self.narrow_weights,
            narrow_function=self.narrow_function,
            master_bytes=self.master_bytes,
            moment_bytes=self.moment_bytes,
            optimizer_on_host=self.optimizer_on_host,
            overlaps_stages=self.overlaps_stages,
            overlaps_experts=self.overlaps_experts,
            dispatch=self.dispatch,
            narrow_attention=self.narrow_attention,
            blocks=self.blocks,
            waits_for_all=self.waits_for_all,
        )
        return Job(
            model=model, layout=layout, sequence=self.sequence, batch=self.batch, program=program
        )
