"""Published training results as rows, and the job that each of them is."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from cordee.core.facts import Fact, rows
from cordee.plan.configuration import Configuration
from cordee.plan.layout import Job
from cordee.plan.model import Model, from_config

TUNED = (1, 2, 4, 8, 16)
"""Micro-batches among which one is chosen where a publication says that it was tuned."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes(Fact):
    """A model of some publication."""

    name: str
    config: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Result(Configuration):
    """One published training speed with its configuration."""

    id: str
    release: str = ""
    """The version of the software."""
    publication: str
    recipe: str = ""
    """How numbers of few bits are scaled: "mx" in small blocks."""
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
        """What ran; several where the micro-batch was tuned, which is written as 0."""
        sizes = (self.micro_batch,) if self.micro_batch else TUNED
        replicas = self.chips // (self.tensor * self.pipeline * self.context)
        model = models()[self.model]
        return tuple(self.job(model, size) for size in sizes if size * replicas <= self.batch)


@cache
def models() -> Mapping[str, Model]:
    """Every model of the results."""
    table = files("cordee.plan.validation") / "models.toml"
    return {row.name: from_config(row.config, row.name) for row in rows(table, Sizes)}


@cache
def results() -> tuple[Result, ...]:
    """Every result, in the order of the table."""
    return tuple(rows(files("cordee.plan.validation") / "training.toml", Result))
