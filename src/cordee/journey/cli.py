"""`cordee demo`: the whole way in a few minutes."""

from pathlib import Path

import click
from rich.console import Console
from rich.markup import escape

from cordee.core.errors import UsageError


@click.command(short_help="The whole way in a few minutes: port, prove, plan, train, serve.")
@click.option(
    "--folder",
    type=click.Path(path_type=Path),
    default=Path("out/demo"),
    show_default=True,
    help="For the report and all that is made.",
)
@click.option("--steps", default=120, show_default=True, help="Of training.")
@click.option("--kill-step", type=int, help="When a worker is killed; half way.")
@click.option("--tokens", default=96, show_default=True, help="Of the answer.")
@click.option("--kill-token", type=int, help="When a replica is killed; half way.")
@click.option("--seed", default=1, show_default=True, help="Of the answer, which is sampled.")
@click.option("--fresh", is_flag=True, help="Take nothing from the run before.")
def demo(  # noqa: PLR0913 - an argument is an option
    folder: Path,
    steps: int,
    kill_step: int | None,
    tokens: int,
    kill_token: int | None,
    seed: int,
    fresh: bool,
) -> None:
    """Port a GPT written for NVIDIA, prove it on a virtual Ascend, train it on four chips of which one
    is killed, plan it on real ones, serve it and kill a replica in the middle of an answer.

    Needs no Ascend and no GPU. Writes a page about it, report.html. Runs the commands of cordee that it prints.
    """
    from cordee.journey.course import Order, travel  # what it needs is not there in a bare install
    from cordee.journey.report import write

    order = Order(
        folder=folder.resolve(),
        steps=steps,
        kill_step=steps // 2 if kill_step is None else kill_step,
        tokens=tokens,
        kill_token=tokens // 2 if kill_token is None else kill_token,
        seed=seed,
        fresh=fresh,
    )
    if not 0 < order.kill_step < steps - 1:
        raise UsageError(
            f"--kill-step {order.kill_step}: between 1 and {steps - 2}, so that training goes on"
        )
    if not 0 < order.kill_token < tokens or tokens > 110:
        raise UsageError("--kill-token is to be less than --tokens, which is at most 110")
    try:
        order.folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{folder}: {error.strerror}") from error
    console = Console(highlight=False)
    journey = travel(
        order,
        lambda text: console.print(f"   [dim]{escape(text)}[/dim]"),
        lambda text: console.print(f"[bold]{escape(text)}[/bold]"),
    )
    page = write(journey, order.folder)
    console.print(
        f"\n[bold]the story, with the numbers of this run:[/bold] {page}  ({journey.seconds:.0f} s)"
    )
