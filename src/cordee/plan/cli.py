"""The commands of the planner."""

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import click
from rich.console import Console

from cordee.core.commands import Commands
from cordee.core.options import AS_JSON, FILE, TARGET
from cordee.hw.accelerator import catalogue_with
from cordee.plan import chips as of_chips
from cordee.plan.calibration.benchmark import is_benchmark
from cordee.plan.calibration.own import Own, mean_error, own, table
from cordee.plan.calibration.serving_own import ServingOwn, serving_rows
from cordee.plan.exports import benchmarks_in, measured_in
from cordee.plan.goodput import published, published_report
from cordee.plan.goodput.cli import goodput as goodput_command
from cordee.plan.options import CHIPS_FILE
from cordee.plan.service.cli import serve
from cordee.plan.traced.cli import program
from cordee.plan.training_cli import train
from cordee.plan.validation import report, scoring, serving_report, serving_scoring

KEEP = "--output FILE keeps it, for plan train or plan serve"


@click.group(cls=Commands)
def plan() -> None:
    """Say what a workload takes on NVIDIA and on Ascend: time, memory and cost."""


plan.add_command(serve)
plan.add_command(program)
plan.add_command(train)
plan.add_command(goodput_command)


@plan.command()
@click.argument("names", nargs=-1, metavar="[CHIP]...")
@CHIPS_FILE
@AS_JSON
def chips(names: tuple[str, ...], chips_file: Path | None, as_json: bool) -> None:
    """Show the chips of the catalogue, or compare those named: every figure with its source."""
    catalogue = catalogue_with(chips_file)
    found = [catalogue.find(name) for name in names] or list(catalogue.accelerators)
    console = Console()
    if as_json:
        print(json.dumps(of_chips.as_data(catalogue, found), indent=2))
    elif names:
        console.print(of_chips.comparison(catalogue, found))
        print("\n".join(of_chips.remarks(catalogue, found)))
    else:
        console.print(of_chips.all_of(catalogue, found))
        print(of_chips.LEGEND)


@plan.command()
@click.argument("found", metavar="FILE...", type=FILE, nargs=-1, required=True)
@click.option("--script", type=FILE, help="What the run that was measured was started with.")
@click.option("--chip", "kind", help="What it ran on.")
@click.option(
    "--output",
    type=TARGET,
    help="For plan train --calibration, or plan serve.",
)
@CHIPS_FILE
@AS_JSON
def calibrate(
    found: tuple[Path, ...],
    script: Path | None,
    kind: str | None,
    output: Path | None,
    chips_file: Path | None,
    as_json: bool,
) -> None:
    """Fit to step times of your own, to a profiler's export or benchmarks of vLLM: how far off is it?"""
    catalogue, source = catalogue_with(chips_file), f"cordee plan calibrate {found[0].name}"
    if all(is_benchmark(file) for file in found):
        served, notes = benchmarks_in(found, script, kind, catalogue)
        text, told = serving_rows(served, source), list(_served(served))
        data = [asdict(served)]
    else:
        measured, notes = measured_in(found, script, kind, catalogue)
        fitted = list(own(measured))
        text, told = table(fitted, source), [line for one in fitted for line in _told(one)]
        data = [asdict(one) for one in fitted]
    if output:
        output.write_text(text, "utf-8")
    if as_json:
        print(json.dumps(data, indent=2))
    else:
        print("\n".join([*told, *notes, f"written: {output}" if output else KEEP]))


def _served(found: ServingOwn) -> Iterator[str]:
    for metric in ("TPOT", "TTFT", "throughput"):
        before, after = (found.error(metric, after=after) for after in (False, True))
        yield f"{found.kind.words}: {metric} off by {before:.1%} before, {after:.1%} now"
    for one in found.figures:
        unit, scale = ("tokens/s", 1.0) if one.metric == "throughput" else ("ms", 1e3)
        yield (
            f"  {one.benchmark}, {one.clients} clients: {one.metric} {one.measured * scale:,.1f} {unit}, "
            f"predicted {one.before * scale:,.1f} before, {one.after * scale:,.1f} now"
        )


def _told(one: Own) -> Iterator[str]:
    errors = f"off by {mean_error(one.before):.1%} before, {mean_error(one.after):.1%} now"
    left_out = f", {mean_error(one.left_out):.1%} where left out" if one.left_out else ""
    many = "1 step" if len(one.after) == 1 else f"{len(one.after)} steps"
    yield f"{one.kind.words}: {many}, {errors}{left_out}"
    for part in one.parts:
        yield (
            f"  {part.name}: {part.measured_s:.3g} s of a step, predicted {part.before_s:.3g} before, "
            f"{part.after_s:.3g} now"
        )


@plan.command()
@click.option("--inference", is_flag=True, help="Results of inference instead; half a minute.")
@click.option("--goodput", is_flag=True, help="What long runs have published of failures instead.")
@click.option("--refit", is_flag=True, help="Fit the calibrations of all splits anew; minutes.")
@click.option(
    "--plot",
    type=TARGET,
    help="Draw predicted against published into FILE, as SVG.",
)
@AS_JSON
def validate(inference: bool, goodput: bool, refit: bool, plot: Path | None, as_json: bool) -> None:
    """Predict every published result without its group, and show errors by family."""
    if inference:
        _validate_inference(plot, as_json=as_json)
        return
    if goodput:
        _validate_goodput(as_json=as_json)
        return
    found = scoring.scores(scoring.refitted()) if refit else scoring.scores()
    if plot:
        plot.write_text(report.plot(found), "utf-8")
    if as_json:
        print(json.dumps(report.as_data(found), indent=2))
    else:
        Console().print(*report.tables(found), sep="\n\n")
        print(report.closing(found))


def _validate_inference(plot: Path | None, *, as_json: bool) -> None:
    found = serving_scoring.shipped_scores()
    if plot:
        plot.write_text(serving_report.serving_plot(found), "utf-8")
    if as_json:
        print(json.dumps(serving_report.serving_data(found), indent=2))
    else:
        Console().print(*serving_report.serving_tables(found), sep="\n\n")


def _validate_goodput(*, as_json: bool) -> None:
    found = list(published.beside())
    data = published_report.as_data(found)
    print(json.dumps(data, indent=2) if as_json else published_report.markdown(found))
