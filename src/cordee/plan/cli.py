"""The commands of the planner."""

import json
from collections.abc import Iterator
from dataclasses import asdict, replace
from math import inf
from pathlib import Path

import click
from rich.console import Console

from cordee.core.commands import Commands
from cordee.core.errors import UsageError
from cordee.core.options import AS_JSON, FILE, TARGET, Number
from cordee.hw.accelerator import catalogue_with
from cordee.plan import chips as of_chips
from cordee.plan import training_report
from cordee.plan.calibration.benchmark import is_benchmark
from cordee.plan.calibration.own import Own, extended, mean_error, own, table
from cordee.plan.calibration.serving_own import ServingOwn, serving_rows
from cordee.plan.calibration.table import calibration as shipped
from cordee.plan.compare import DAY_S, TODAY, Request, check, dtype_on, outcome, usual_batch
from cordee.plan.exports import benchmarks_in, measured_in
from cordee.plan.goodput import published, published_report
from cordee.plan.goodput.cli import goodput as goodput_command
from cordee.plan.model import Model, model
from cordee.plan.options import CHIP, CHIPS, CHIPS_FILE, PAGE, TOP
from cordee.plan.page import write_page
from cordee.plan.pipeline.schedules import schedules_named
from cordee.plan.scripts.as_it_is import as_data, as_it_is
from cordee.plan.scripts.megatron import Asked, asked
from cordee.plan.scripts.written import write
from cordee.plan.service.cli import serve
from cordee.plan.traced.cli import program
from cordee.plan.traced.trace import is_trace
from cordee.plan.training_page import view
from cordee.plan.validation import report, scoring, serving_report, serving_scoring

KEEP = "--output FILE keeps it, for plan train or plan serve"


@click.group(cls=Commands)
def plan() -> None:
    """Say what a workload takes on NVIDIA and on Ascend: time, memory and cost."""


plan.add_command(serve)
plan.add_command(program)
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
    if sequence is None:
        sequence = theirs.sequence if theirs else 4096
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
    own_layouts = [as_it_is(theirs, request, one, known) for one in outcomes if theirs]
    notes = write(written, asks, outcomes[-1]) if written else []
    if page:
        remarks = [*(one.words for one in own_layouts), *(asks.remarks if asks else ())]
        write_page(view(request, outcomes, known, top), page, remarks)
    if as_json:
        data = training_report.as_data(request, outcomes, top)
        data["script"] = asks and as_data(asks.remarks, own_layouts)
        data["written"] = notes
        print(json.dumps(data, indent=2))
        return
    console = Console()
    console.print(training_report.comparison(request, outcomes))
    for one in outcomes:
        console.print("", training_report.ranking(one, top), sep="\n")
    if asks:
        print("", *(one.words for one in own_layouts), *asks.remarks, sep="\n")
    print("", *training_report.remarks(request, outcomes), *notes, sep="\n")


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
