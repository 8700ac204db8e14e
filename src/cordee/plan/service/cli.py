"""`cordee plan serve`: the best deployments for a model and its traffic, on several kinds of chips."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from cordee.core.errors import UsageError
from cordee.core.options import AS_JSON, FILE, TARGET, Number
from cordee.hw.accelerator import Accelerator, Catalogue, catalogue_with
from cordee.plan.calibration.serving_own import serving_extended
from cordee.plan.calibration.serving_table import ServingCalibrations, serving_calibration
from cordee.plan.deployment import Drafting, Precision
from cordee.plan.goodput.service import report as failure_report
from cordee.plan.goodput.service.report import Answer
from cordee.plan.model import Model, model
from cordee.plan.options import CHIP, CHIPS, CHIPS_FILE, PAGE, TOP
from cordee.plan.page import write_page
from cordee.plan.scripts.serving import ServingAsked, serving_asked
from cordee.plan.service import report
from cordee.plan.service.as_it_is import as_data, precision_on, told
from cordee.plan.service.compare import ServingOutcome, precisions, serving_outcome
from cordee.plan.service.failing import failing
from cordee.plan.service.page import serving_view
from cordee.plan.service.wanted import Wanted, check
from cordee.plan.service.written import write_serving
from cordee.plan.serving.recorded import recording


@click.command()
@click.argument("name", metavar="[MODEL]", required=False)
@click.option("--script", type=FILE, help="A script that starts vLLM or SGLang.")
@click.option(
    "--write-script",
    "written",
    type=TARGET,
    metavar="FILE",
    help="Write the best deployment on the last --chip as such a script.",
)
@click.option(
    "--engine",
    type=click.Choice(["vllm", "sglang"]),
    help="To write it for; as the script has it, or vllm.",
)
@CHIP
@CHIPS
@click.option("--rate", type=Number(min=1e-6), help="Requests a second that come.")
@click.option(
    "--trace",
    type=FILE,
    help="Requests that came, in place of the next two: a gateway's log, or a public trace.",
)
@click.option("--prompt", default=1024, show_default=True, help="Tokens of a prompt.")
@click.option("--answer", default=512, show_default=True, help="Tokens of an answer.")
@click.option(
    "--ttft", type=Number(min=0, min_open=True), default=2000.0, show_default=True, metavar="MS",
    help="Until the first token, at most, for 9 of 10.",
)  # fmt: skip
@click.option(
    "--tpot", type=Number(min=0, min_open=True), default=50.0, show_default=True, metavar="MS",
    help="Between tokens, at most, for 9 of 10.",
)  # fmt: skip
@click.option(
    "--dtype",
    help="bf16, fp8, fp4, w8a8, w4a8 or w4a16; as the script has it, or 8 bits where the chip has them.",
)  # fmt: skip
@click.option("--cache", help="Of keys and values: bf16, fp8, int8; as the script has it, or bf16.")
@click.option(
    "--cached",
    type=Number(min=0),
    default=0.0,
    help="Part of prompts that is kept from earlier ones.",
)
@click.option("--drafts", type=int, help="Tokens guessed ahead in a pass (MTP, EAGLE).")
@click.option("--acceptance", type=Number(min=0), help="How likely a guess is right; as is usual.")
@click.option(
    "--failures", metavar="RATE",
    help="What clients see of them in a year: low, typical, high, a source, or 2e-5 of a chip in an hour.",
)  # fmt: skip
@TOP
@click.option("--calibration", type=FILE, help="What `cordee plan calibrate` wrote of benchmarks.")
@PAGE
@CHIPS_FILE
@AS_JSON
def serve(  # noqa: PLR0913 - an argument is an option
    name: str | None,
    script: Path | None,
    written: Path | None,
    engine: str | None,
    names: tuple[str, ...],
    chips: int | None,
    rate: float | None,
    trace: Path | None,
    prompt: int,
    answer: int,
    ttft: float,
    tpot: float,
    dtype: str | None,
    cache: str | None,
    cached: float,
    drafts: int | None,
    acceptance: float | None,
    failures: str | None,
    top: int,
    calibration: Path | None,
    page: Path | None,
    chips_file: Path | None,
    as_json: bool,
) -> None:
    """Find the best layouts to serve MODEL, a config.json or a name, and compare kinds of chips."""
    catalogue = catalogue_with(chips_file)
    kinds = [catalogue.find(one) for one in names]
    asks = serving_asked(script, model(name) if name else None) if script else None
    if asks:
        cache, drafts = cache or asks.cache, asks.drafts if drafts is None else drafts
        chips = asks.chips if chips is rate is None else chips
    spread = _precisions(asks, dtype, cache or "bf16", kinds)
    wanted = Wanted(
        model=_model_of(name, asks),
        precision=spread[0],
        prompt=prompt,
        answer=answer,
        first_s=ttft / 1e3,
        between_s=tpot / 1e3,
        chips=chips,
        rate_per_s=rate,
        drafting=Drafting(tokens=drafts or 0, acceptance=acceptance),
        cached=cached,
    )
    wanted = wanted.recorded(recording(trace)) if trace else wanted
    check(wanted)
    known = _known(calibration)
    outcomes = list(_outcomes(wanted, spread, kinds, catalogue, known))
    notes = write_serving(written, asks, outcomes[-1], engine) if written else []
    failed = [failing(one, failures) for one in outcomes] if failures else []
    if page:
        write_page(serving_view(wanted, outcomes, known, top), page, _of_script(asks, outcomes))
    if as_json:
        data = report.as_data(wanted, outcomes, top) | _beside(asks, outcomes, failed)
        print(json.dumps({**data, "written": notes}, indent=2))
        return
    _shown(outcomes, asks, top)
    notes += failure_report.shown(failed) if failed else []
    print("", *report.remarks(wanted, outcomes), *notes, sep="\n")


def _known(calibration: Path | None) -> ServingCalibrations:
    shipped = serving_calibration()
    return serving_extended(shipped, calibration) if calibration else shipped


def _outcomes(
    wanted: Wanted,
    spread: Sequence[Precision],
    kinds: Sequence[Accelerator],
    catalogue: Catalogue,
    known: ServingCalibrations,
) -> Iterator[ServingOutcome]:
    for precision, kind in zip(spread, kinds, strict=True):
        one = replace(wanted, precision=precision)
        yield serving_outcome(one, kind, catalogue.price(kind, "rent"), known)


def _shown(outcomes: Sequence[ServingOutcome], asks: ServingAsked | None, top: int) -> None:
    console = Console()
    console.print(report.comparison(outcomes))
    for one in outcomes:
        console.print("", report.ranking(one, top), sep="\n")
    if asks:
        print("", *_of_script(asks, outcomes), sep="\n")


def _of_script(asks: ServingAsked | None, outcomes: Sequence[ServingOutcome]) -> list[str]:
    return [*told(asks, outcomes), *asks.remarks] if asks else []


def _beside(
    asks: ServingAsked | None, outcomes: Sequence[ServingOutcome], failed: Sequence[Answer]
) -> dict[str, Any]:
    """For a machine, what goes beyond the plans."""
    return {
        "script": asks and as_data(asks, outcomes),
        "failures": {one.name: failure_report.as_data(one) for one in failed},
    }


def _model_of(name: str | None, asks: ServingAsked | None) -> Model:
    if asks:
        return asks.model
    if name is None:
        raise UsageError("give MODEL, a config.json or a name, or --script, a launch script")
    return model(name)


def _precisions(
    asks: ServingAsked | None, dtype: str | None, cache: str, kinds: Sequence[Accelerator]
) -> list[Precision]:
    if asks and dtype is None:
        return [precision_on(asks, cache, kind) for kind in kinds]
    return precisions(dtype or "auto", cache, kinds)
