"""Published training results as rows, and the job that each of them is."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from cordee.core.facts import Fact, rows
from cordee.plan.layout import Job, Layout, Program
from cordee.plan.model import Model, from_config

TUNED = (1, 2, 4, 8, 16)
"""Micro-batches among which one is chosen where a publication says that it was tuned."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes(Fact):
    """A model of some publication."""

    name: str
    config: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Result(Fact):
    """One published training speed with its configuration."""

    id: str
    model: str
    chip: str
    stack: str
    """The software."""
    release: str = ""
    """Its version."""
    publication: str
    sequence: int
    batch: int
    chips: int
    tensor: int
    pipeline: int
    context: int
    micro_batch: int
    """0 where it was tuned and not published."""
    chunks: int = 1
    expert: int = 1
    zero: int = 1
    recompute: str = "none"
    recompute_layers: int | None = None
    context_kind: str = "ring"
    sequence_parallel: bool = True
    dtype: str = "bf16"
    recipe: str = ""
    """How numbers of few bits are scaled: "mx" in small blocks."""
    fused_attention: bool = True
    fused_norm: bool = True
    fused_activation: bool = True
    overlaps_tensor: bool = False
    overlaps_gradients: bool = True
    trains_all: bool = True
    tokens_per_s_per_chip: float
    memory_gib: float | None = None
    """What the allocator had at its peak, where that is published."""
    quality: str
    """"A": the whole configuration is published; "B": something of it is not."""
    note: str = ""

    @property
    def group(self) -> str:
        """Rows that are held out together: one model under one software; where a publication has
        only two models, one model in one layout, whatever the batch."""
        few = self.stack == "megatron-core"
        layout = f"/{self.tensor}/{self.pipeline}/{self.context}/{self.expert}" if few else ""
        return f"{self.stack}/{self.model}{layout}"

    def jobs(self) -> tuple[Job, ...]:
        """What ran; several where the micro-batch was tuned."""
        sizes = (self.micro_batch,) if self.micro_batch else TUNED
        replicas = self.chips // (self.tensor * self.pipeline * self.context)
        fits = [size for size in sizes if size * replicas <= self.batch]
        return tuple(self._job(size) for size in fits)

    def _job(self, micro_batch: int) -> Job:
        layout = Layout(
            chips=self.chips,
            tensor=self.tensor,
            pipeline=self.pipeline,
            chunks=self.chunks,
            context=self.context,
            expert=self.expert,
            micro_batch=micro_batch,
            zero=self.zero,
            sequence_parallel=self.sequence_parallel,
            recompute=self.recompute,
            recompute_layers=self.recompute_layers,
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
        )
        return Job(
            model=models()[self.model],
            layout=layout,
            sequence=self.sequence,
            batch=self.batch,
            program=program,
        )


@cache
def models() -> Mapping[str, Model]:
    """Every model of the results."""
    table = files("cordee.plan.validation") / "models.toml"
    return {row.name: from_config(row.config, row.name) for row in rows(table, Sizes)}


@cache
def results() -> tuple[Result, ...]:
    """Every result, in the order of the table."""
    return tuple(rows(files("cordee.plan.validation") / "training.toml", Result))
