"""Published training results as rows, and the job that each of them is."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from typing import Any

from cordee.core.facts import Fact, rows
from cordee.plan.calibration.stacks import with_stack
from cordee.plan.configuration import Configuration
from cordee.plan.layout import Job, Program
from cordee.plan.model import Model, from_config
from cordee.plan.validation.recipes import LAYOUT, Recipe, recipes

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
        found = tuple(self.job(model, size) for size in sizes if size * replicas <= self.batch)
        program = told(self, found[0].program)
        return tuple(replace(job, program=program) for job in found)


def told(result: Result, program: Program) -> Program:
    """The program with what the recipe of the publication says of it."""
    program = replace(program, blocks=program.blocks or result.recipe == "mx")
    program = with_stack(program, result.stack)
    recipe = recipe_of(result)
    return recipe.program(program) if recipe else program


def recipe_of(result: Result) -> Recipe | None:
    """The published recipe that a result ran with: the same layout first, then the same version."""
    known = [one for one in recipes() if one.fits(result.stack, result.model, result.chip)]
    precision = result.dtype + (f" {result.recipe}" if result.recipe else "")
    known = [one for one in known if one.precision == precision]
    layout = [getattr(result, name) for name in LAYOUT]
    return max(known, key=lambda one: one.likeness(layout, result.release), default=None)


@cache
def models() -> Mapping[str, Model]:
    """Every model of the results."""
    table = files("cordee.plan.validation") / "models.toml"
    return {row.name: from_config(row.config, row.name) for row in rows(table, Sizes)}


@cache
def results() -> tuple[Result, ...]:
    """Every result, in the order of the table."""
    return tuple(rows(files("cordee.plan.validation") / "training.toml", Result))
