"""Reports: one module per format, each made of an assessment and nothing else."""

import importlib
import io
from collections.abc import Callable
from typing import IO, cast

from cordee.port.assessment import Assessment
from cordee.port.formats import html, markdown
from cordee.port.porting import Ported
from cordee.port.repository import REPORT

# What each format is written by: a function of an assessment and a binary file.
FORMATS = {
    "text": "cordee.port.formats.text:write",
    "json": "cordee.port.formats.plain:write",
    "sarif": "cordee.port.formats.sarif:write",
    "markdown": "cordee.port.formats.markdown:write",
    "junit": "cordee.port.formats.junit:write",
    "html": "cordee.port.formats.html:write",
}
Write = Callable[[Assessment, IO[bytes]], None]


def written(assessment: Assessment, name: str) -> bytes:
    """A report in one of the formats."""
    module, attribute = FORMATS[name].split(":")
    write = cast(Write, getattr(importlib.import_module(module), attribute))
    file = io.BytesIO()
    write(assessment, file)
    return file.getvalue()


def of_port(ported: Ported) -> tuple[str, bytes]:
    """The report that a port leaves beside its files: its name, and what is in it."""
    file = io.BytesIO()
    if html.is_there():
        html.write(ported.assessment, file, ported)
        return f"{REPORT}.html", file.getvalue()
    markdown.write(ported.assessment, file)
    return f"{REPORT}.md", file.getvalue()
