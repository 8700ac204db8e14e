"""The command `cordee train show`."""

from pathlib import Path

import click

from cordee.train.page.report import report


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option(
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    default="training.html",
    show_default=True,
)
def show(folder: Path, output: Path) -> None:
    """Write what became of the job in FOLDER as one page, which opens without a network."""
    report(folder, output)
    click.echo(f"report: {output}")
