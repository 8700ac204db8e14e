"""`cordee plan serve`: the best deployments for a model and its traffic, on several kinds of chips."""

import json
from dataclasses import replace
from pathlib import Path

import click
from rich.console import Console

from cordee.core.errors import UsageError
from cordee.hw.accelerator import accelerators
from cordee.plan.deployment import Drafting
from cordee.plan.model import model
from cordee.plan.service import report
from cordee.plan.service.compare import precision_for, serving_outcome
from cordee.plan.service.wanted import Wanted


@click.command()
@click.argument("name", metavar="MODEL")
@click.option(
    "--chip", "names", multiple=True, required=True, help="Kind of chip; several compare."
)
@click.option("--chips", type=click.IntRange(min=1), help="How many there are.")
@click.option("--rate", type=click.FloatRange(min=1e-6), help="Requests a second that come.")
@click.option("--prompt", default=1024, show_default=True, help="Tokens of a prompt.")
@click.option("--answer", default=512, show_default=True, help="Tokens of an answer.")
@click.option(
    "--ttft", default=2000.0, show_default=True, metavar="MS",
    help="Until the first token, at most, for 9 of 10.",
)  # fmt: skip
@click.option(
    "--tpot", default=50.0, show_default=True, metavar="MS",
    help="Between tokens, at most, for 9 of 10.",
)  # fmt: skip
@click.option(
    "--dtype", default="auto", show_default=True,
    help="bf16, fp8, fp4, w8a8, w4a8 or w4a16; auto: 8 bits where the chip multiplies in them.",
)  # fmt: skip
@click.option(
    "--cache", default="bf16", show_default=True, help="Of keys and values: bf16, fp8, int8."
)
@click.option("--cached", default=0.0, help="Part of prompts that is kept from earlier ones.")
@click.option("--drafts", default=0, help="Tokens guessed ahead in a pass (MTP, EAGLE).")
@click.option("--acceptance", type=float, help="How likely a guess is right; as is usual.")
@click.option("--top", default=3, show_default=True, help="Layouts to show for each chip.")
@click.option(
    "--chips-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Chips and prices of your own, as TOML; they come before ours of the same name.",
)
@click.option("--json", "as_json", is_flag=True, help="For a machine to read.")
def serve(  # noqa: PLR0913 - an argument is an option
    name: str,
    names: tuple[str, ...],
    chips: int | None,
    rate: float | None,
    prompt: int,
    answer: int,
    ttft: float,
    tpot: float,
    dtype: str,
    cache: str,
    cached: float,
    drafts: int,
    acceptance: float | None,
    top: int,
    chips_file: Path | None,
    as_json: bool,
) -> None:
    """Find the best layouts to serve MODEL, a config.json or a name, and compare kinds of chips."""
    catalogue = accelerators()
    catalogue = catalogue.extended(chips_file) if chips_file else catalogue
    kinds = [catalogue.find(one) for one in names]
    wanted = Wanted(
        model=model(name),
        precision=precision_for(dtype, cache, kinds[0]),
        prompt=prompt,
        answer=answer,
        first_s=ttft / 1e3,
        between_s=tpot / 1e3,
        chips=chips,
        rate_per_s=rate,
        drafting=Drafting(tokens=drafts, acceptance=acceptance),
        cached=cached,
    )
    _check(wanted)
    outcomes = [
        serving_outcome(
            replace(wanted, precision=precision_for(dtype, cache, kind)),
            kind,
            catalogue.price(kind, "rent"),
        )
        for kind in kinds
    ]
    if as_json:
        print(json.dumps(report.as_data(wanted, outcomes, top), indent=2))
        return
    console = Console()
    console.print(report.comparison(outcomes))
    for one in outcomes:
        console.print("", report.ranking(one, top), sep="\n")
    print("\n" + "\n".join(report.remarks(wanted, outcomes)))


def _check(wanted: Wanted) -> None:
    if wanted.chips is None and wanted.rate_per_s is None:
        raise UsageError("give --chips, how many there are, or --rate, how many requests a second")
    for option, value in (("--prompt", wanted.prompt), ("--answer", wanted.answer)):
        if value < 1:
            raise UsageError(f"{option} {value}: 1 token or more")
    for option, limit in (("--ttft", wanted.first_s), ("--tpot", wanted.between_s)):
        if limit <= 0:
            raise UsageError(f"{option} {limit * 1e3:g}: milliseconds, above 0")
    if not 0 <= wanted.cached < 1:
        raise UsageError(f"--cached {wanted.cached}: a part of prompts, from 0 to below 1")
