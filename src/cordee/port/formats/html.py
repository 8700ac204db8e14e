"""The report as one page that needs no network."""

import importlib
import importlib.util
import tempfile
from pathlib import Path
from typing import IO

from cordee.port.assessment import Assessment

PAGE = "cordee.port.report"


def write(assessment: Assessment, file: IO[bytes], result: object = None) -> None:
    """The report; given the result of a port, of what it did."""
    page = importlib.import_module(PAGE)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "page.html"
        page.write(assessment, path, result)
        file.write(path.read_bytes())


def is_there() -> bool:
    """Whether the page can be made."""
    return importlib.util.find_spec(PAGE) is not None
