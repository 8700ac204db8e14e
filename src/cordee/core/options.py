"""Options that commands of all parts have alike."""

import os
from math import isfinite
from pathlib import Path
from typing import Any

import click

from cordee.core.errors import UsageError


class Number(click.FloatRange):
    """A number in a range; nan and inf are none."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        found = float(super().convert(value, param, ctx))
        if not isfinite(found):
            self.fail(f"{value} is no finite number", param, ctx)
        return found


class Target(click.Path):
    """A file that is written, in a folder that is there: better said before the work than after it."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        found = super().convert(value, param, ctx)
        folder = Path(os.fsdecode(found)).parent
        if not folder.is_dir():
            raise UsageError(f"{os.fsdecode(found)}: folder '{folder}' does not exist")
        return found


FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
"""One that is read."""
TARGET = Target(dir_okay=False, path_type=Path)
"""One that is written."""
AS_JSON = click.option("--json", "as_json", is_flag=True, help="For a machine to read.")
