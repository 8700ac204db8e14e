"""The page of a job in one file, which opens without a network and without the job."""

from pathlib import Path

import msgspec

from cordee.core.pages import save
from cordee.core.pages.files import alone
from cordee.train.page.record import recorded
from cordee.train.page.server import PACKAGE

SCRIPTS = ("live.js", "charts.js", "view.js", "page.js")


def report(folder: Path, target: Path) -> None:
    """Write it. Raises `UsageError` where there is no journal, or `target` cannot be written."""
    record = recorded(folder)
    save(alone(PACKAGE, SCRIPTS, msgspec.json.encode(record.shown())), target)
