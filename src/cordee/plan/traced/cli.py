"""`cordee plan program`: what a program of the user's would take, from a trace of it."""

import json
from math import inf
from pathlib import Path

import click
from rich.console import Console

from cordee.core.errors import UsageError
from cordee.core.options import AS_JSON, FILE, Number
from cordee.hw.accelerator import Accelerator, Catalogue, catalogue_with
from cordee.plan.calibration.own import extended
from cordee.plan.calibration.table import calibration as shipped
from cordee.plan.options import CHIP, CHIPS_FILE, PAGE
from cordee.plan.page import write_page
from cordee.plan.traced import report
from cordee.plan.traced.asked import ask
from cordee.plan.traced.compare import as_measured, outcome
from cordee.plan.traced.page import view
from cordee.plan.traced.target import LAUNCH_S
from cordee.plan.traced.trace import read


@click.command()
@click.argument("trace", type=FILE)
@CHIP
@click.option(
    "--chips",
    type=click.IntRange(min=1),
    help="How many; copies of the program run on more than were traced.",
)
@click.option("--layers", type=click.IntRange(min=1), help="How many the whole model is to have.")
@click.option("--step", type=click.IntRange(min=1), help="Which of the trace; a usual one.")
@click.option("--steps", type=Number(min=1), help="Of the whole run, for days and cost.")
@click.option(
    "--launch-us",
    type=Number(min=0.1),
    default=LAUNCH_S * 1e6,
    show_default=True,
    help="What the host takes to start an operator.",
)
@click.option("--tf32", is_flag=True, help="Products in float32 run in TF32 where a chip has it.")
@click.option(
    "--measured",
    multiple=True,
    metavar="CHIP=SECONDS",
    help="A step that you measured, on as many chips as were traced: all times go by it.",
)
@click.option("--top", default=8, show_default=True, help="Modules to show.")
@click.option("--calibration", type=FILE, help="What `cordee plan calibrate` wrote.")
@PAGE
@CHIPS_FILE
@AS_JSON
def program(  # noqa: PLR0913 - an argument is an option
    trace: Path,
    names: tuple[str, ...],
    chips: int | None,
    layers: int | None,
    step: int | None,
    steps: float | None,
    launch_us: float,
    tf32: bool,
    measured: tuple[str, ...],
    top: int,
    calibration: Path | None,
    page: Path | None,
    chips_file: Path | None,
    as_json: bool,
) -> None:
    """Say what a program of yours takes on each kind of chip, from TRACE, which `cordee run --trace` wrote."""
    catalogue = catalogue_with(chips_file)
    kinds = [catalogue.find(one) for one in names]
    known = extended(shipped(), calibration) if calibration else shipped()
    asked = ask(
        trace.name,
        read(trace),
        chips=chips,
        layers=layers,
        step=step,
        steps=steps,
        launch_s=launch_us * 1e-6,
        tf32=tf32,
    )
    asked = as_measured(asked, [_measured(one, catalogue) for one in measured], known)
    outcomes = [outcome(asked, kind, catalogue.price(kind, "rent"), known) for kind in kinds]
    if page:
        write_page(view(asked, outcomes, known, top), page)
    if as_json:
        print(json.dumps(report.as_data(asked, outcomes), indent=2))
        return
    console = Console()
    console.print(report.comparison(asked, outcomes))
    console.print("", report.parts(outcomes), "", report.modules(outcomes, top), sep="\n")
    print("", *report.remarks(asked, outcomes), sep="\n")


def _measured(text: str, catalogue: Catalogue) -> tuple[Accelerator, float]:
    """ "A100=0.041" as a chip and seconds."""
    name, _, value = text.partition("=")
    try:
        seconds = float(value)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < inf:
        raise UsageError(f"--measured {text}: a chip and the seconds of a step, such as A100=0.041")
    return catalogue.find(name), seconds
