"""`cordee plan train`: the best layouts to train a model, on kinds of chips side by side."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import inf
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from cordee.core.errors import UsageError
from cordee.core.options import AS_JSON, FILE, TARGET, Number
from cordee.hw.accelerator import catalogue_with
from cordee.plan import training_report
from cordee.plan.calibration.own import extended
from cordee.plan.calibration.table import Calibrations
from cordee.plan.calibration.table import calibration as shipped
from cordee.plan.compare import (
    DAY_S,
    TODAY,
    Outcome,
    Request,
    check,
    dtype_on,
    outcome,
    usual_batch,
)
from cordee.plan.model import Model, model
from cordee.plan.options import CHIP, CHIPS, CHIPS_FILE, PAGE, TOP
from cordee.plan.page import write_page
from cordee.plan.pipeline.schedules import schedules_named
from cordee.plan.recomputation import named as recomputed
from cordee.plan.scripts.as_it_is import AsItIs, as_data, as_it_is
from cordee.plan.scripts.megatron import Asked, asked
from cordee.plan.scripts.written import write
from cordee.plan.traced.trace import is_trace
from cordee.plan.training_page import view


@click.command()
@click.argument("name", metavar="[MODEL]", required=False)
@click.option("--script", type=FILE, help="A launch script of Megatron-LM or MindSpeed-LLM.")
@click.option(
    "--write-script",
    "written",
    type=TARGET,
    metavar="FILE",
    help="Write the best layout on the last --chip as such a script.",
)
@CHIP
@CHIPS
@click.option("--deadline", type=Number(min=0.01), metavar="DAYS", help="Or by when.")
@click.option("--tokens", metavar="N", help="Tokens of the whole run, such as 15T or 2e12.")
@click.option(
    "--sequence",
    type=click.IntRange(min=1),
    help="Tokens of a sequence; 4096, or as the script has it.",
)
@click.option("--batch", type=click.IntRange(min=1), help="Sequences of a step; by size of model.")
@click.option("--dtype", help="Of products: bf16, fp8 or fp4; bf16, or as the script has it.")
@click.option(
    "--schedule",
    "turns",
    multiple=True,
    metavar="NAME",
    help="Try pipelines that run so: 1f1b, zb-h1, zb-h2, zb-v, dualpipe, dualpipev or all; else what the "
    "software runs.",
)
@click.option(
    "--recompute",
    "again",
    multiple=True,
    metavar="NAME",
    help="What a pass backward reckons again: none, full, or parts of layers such as moe_act,mla_up_proj; else as "
    "little as fits.",
)
@TOP
@click.option("--calibration", type=FILE, help="What `cordee plan calibrate` wrote.")
@PAGE
@CHIPS_FILE
@AS_JSON
def train(  # noqa: PLR0913 - an argument is an option
    name: str | None,
    script: Path | None,
    written: Path | None,
    names: tuple[str, ...],
    chips: int | None,
    deadline: float | None,
    tokens: str | None,
    sequence: int | None,
    batch: int | None,
    dtype: str | None,
    turns: tuple[str, ...],
    again: tuple[str, ...],
    top: int,
    calibration: Path | None,
    page: Path | None,
    chips_file: Path | None,
    as_json: bool,
) -> None:
    """Find the best layouts to train MODEL, a config.json or a name, and compare kinds of chips."""
    asks = asked(script, model(name) if name else None, chips) if script else None
    found = _model_of(name, asks)
    theirs = asks.job if asks else None
    sequence = sequence or (theirs.sequence if theirs else 4096)
    if theirs:
        batch = batch or theirs.batch
        chips = chips or (None if deadline else theirs.layout.chips)
    request = Request(
        model=found,
        sequence=sequence,
        batch=batch or usual_batch(found, sequence),
        dtype=dtype or (theirs.program.dtype if theirs else "bf16"),
        tokens=_count(tokens),
        chips=chips,
        deadline_s=deadline and deadline * DAY_S,
        program=theirs.program if theirs else TODAY,
        schedules=schedules_named(turns),
        recompute=recomputed(again),
    )
    check(request)
    catalogue = catalogue_with(chips_file)
    kinds = [catalogue.find(one) for one in names]
    known = extended(shipped(), calibration) if calibration else shipped()
    each = [replace(request, dtype=dtype_on(request.dtype, kind, kinds)) for kind in kinds]
    outcomes = [
        outcome(one, kind, catalogue.price(kind, "rent"), known)
        for one, kind in zip(each, kinds, strict=True)
    ]
    planned = Planned(request, outcomes, asks, known)
    notes = write(written, asks, outcomes[-1]) if written else []
    if page:
        write_page(view(request, outcomes, known, top), page, planned.remarks)
    if as_json:
        click.echo(json.dumps(planned.data(top) | {"written": notes}, indent=2))
    else:
        planned.show(top, notes)


@dataclass(frozen=True, slots=True)
class Planned:
    """What was found, beside what a script asks for."""

    request: Request
    outcomes: Sequence[Outcome]
    asks: Asked | None
    known: Calibrations

    @property
    def own_layouts(self) -> list[AsItIs]:
        """The script's own layout on each kind of chip."""
        if self.asks is None:
            return []
        job = self.asks.job
        return [as_it_is(job, self.request, one, self.known) for one in self.outcomes]

    @property
    def remarks(self) -> list[str]:
        """What is said of the script."""
        said = self.asks.remarks if self.asks else ()
        return [*(one.words for one in self.own_layouts), *said]

    def show(self, top: int, notes: Sequence[str]) -> None:
        """Print all of it for a person."""
        console = Console()
        console.print(training_report.comparison(self.request, self.outcomes))
        for ranked in self.outcomes:
            console.print("", training_report.ranking(ranked, top), sep="\n")
        told = ["", *self.remarks] if self.asks else []
        told += ["", *training_report.remarks(self.request, self.outcomes), *notes]
        click.echo("\n".join(told))

    def data(self, top: int) -> dict[str, Any]:
        """All of it for a machine."""
        script = self.asks and as_data(self.asks.remarks, self.own_layouts)
        return training_report.as_data(self.request, self.outcomes, top) | {"script": script}


def _model_of(name: str | None, asks: Asked | None) -> Model:
    if asks:
        return asks.job.model
    if name is None:
        raise UsageError("give MODEL, a config.json or a name, or --script, a launch script")
    if is_trace(Path(name)):
        raise UsageError(f"{name} is a trace of a program: cordee plan program {name}")
    return model(name)


def _count(text: str | None) -> float | None:
    """A number with K, M, B or T behind it, or none."""
    if text is None:
        return None
    powers = {"K": 1e3, "M": 1e6, "B": 1e9, "T": 1e12}
    power = powers.get(text[-1:].upper(), 1.0)
    try:
        found = float(text[:-1] if text[-1:].upper() in powers else text) * power
    except ValueError as error:
        raise UsageError(f"--tokens {text}: a number such as 15T, 300B or 2e12") from error
    if not 0 < found < inf:
        raise UsageError(f"--tokens {text}: above 0, and as many as can be counted")
    return found
