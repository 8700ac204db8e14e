"""The commands of the planner."""

import json
from pathlib import Path

import click
from rich.console import Console

from cordee.hw.accelerator import Catalogue, accelerators
from cordee.plan import chips as side_by_side
from cordee.plan.validation import report, scoring

CHIPS_FILE = click.option(
    "--chips-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Chips and prices of your own, as TOML; they come before ours of the same name.",
)
AS_JSON = click.option("--json", "as_json", is_flag=True, help="For a machine to read.")


@click.group()
def plan() -> None:
    """Say what a workload takes on NVIDIA and on Ascend: time, memory and cost."""


@plan.command()
@click.argument("names", nargs=-1, metavar="[CHIP]...")
@CHIPS_FILE
@AS_JSON
def chips(names: tuple[str, ...], chips_file: Path | None, as_json: bool) -> None:
    """Show the chips of the catalogue, or compare those named: every figure with its source."""
    catalogue = _catalogue(chips_file)
    found = [catalogue.find(name) for name in names] or list(catalogue.accelerators)
    console = Console()
    if as_json:
        print(json.dumps(side_by_side.as_data(catalogue, found), indent=2))
    elif names:
        console.print(side_by_side.comparison(catalogue, found))
        print("\n".join(side_by_side.remarks(catalogue, found)))
    else:
        console.print(side_by_side.table(catalogue, found))


@plan.command()
@click.option("--refit", is_flag=True, help="Fit the calibrations of all splits anew; minutes.")
@click.option(
    "--plot",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Draw predicted against published into FILE, as SVG.",
)
@AS_JSON
def validate(refit: bool, plot: Path | None, as_json: bool) -> None:
    """Predict every published result without its group, and show errors by family."""
    found = scoring.scores(scoring.refitted()) if refit else scoring.scores()
    if plot:
        plot.write_text(report.plot(found), "utf-8")
    if as_json:
        print(json.dumps(report.as_data(found), indent=2))
    else:
        Console().print(*report.tables(found), sep="\n\n")
        print(report.closing(found))


def _catalogue(chips_file: Path | None) -> Catalogue:
    catalogue = accelerators()
    return catalogue.extended(chips_file) if chips_file else catalogue
