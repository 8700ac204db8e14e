"""Options that commands of all parts have alike."""

from pathlib import Path

import click

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
"""One that is read."""
TARGET = click.Path(dir_okay=False, path_type=Path)
"""One that is written."""
AS_JSON = click.option("--json", "as_json", is_flag=True, help="For a machine to read.")
