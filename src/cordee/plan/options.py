"""Options that `cordee plan train`, `plan serve` and their like have alike."""

import click

from cordee.core.options import FILE, TARGET

CHIP = click.option(
    "--chip", "names", multiple=True, required=True, help="Kind of chip; several compare."
)
CHIPS = click.option("--chips", type=click.IntRange(min=1), help="How many there are.")
CHIPS_FILE = click.option(
    "--chips-file",
    type=FILE,
    help="Chips and prices of your own, as TOML; they come before ours of the same name.",
)
TOP = click.option(
    "--top",
    type=click.IntRange(min=1),
    default=3,
    show_default=True,
    help="Layouts to show for each chip.",
)
PAGE = click.option(
    "--report",
    "page",
    type=TARGET,
    help="Write a page of it into FILE, as HTML that needs nothing else.",
)
