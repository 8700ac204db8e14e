"""Makefiles: their recipes are shell, the rest is looked at line by line."""

import re
from collections.abc import Iterator
from pathlib import PurePosixPath

from cordee.port.documents.kind import Kind
from cordee.port.documents.mentions import mentions
from cordee.port.documents.shell import shell_part
from cordee.port.python.file import Span
from cordee.port.rule import Part
from cordee.port.setting import Setting
from cordee.port.source import Source, text_source

RECIPE = re.compile(r"(?m)^\t[@+\-]*((?:[^\n]*\\\r?\n)*[^\n]*\n?)")


class Makefile:
    """Recipes are parts."""

    kind = "makefile"

    def __init__(self, source: Source, setting: Setting) -> None:
        self.source, self.setting = source, setting

    def nodes(self) -> Iterator[object]:
        """Lines outside of recipes that speak of NVIDIA."""
        comments = re.finditer(r"(?m)(?:^|[ \t])#[^\n]*", self.source.text)
        quiet = [Span(match.start(), match.end()) for match in comments]
        quiet += [Span(m.start(), m.end()) for m in RECIPE.finditer(self.source.text)]
        yield from mentions(self.source, quiet)

    def parts(self) -> Iterator[Part]:
        """All recipes, as one script."""
        pieces = [(match[1], match.start(1)) for match in RECIPE.finditer(self.source.text)]
        if pieces:
            yield shell_part(self.source, pieces, self.setting)


def _claims(path: str, data: bytes) -> bool:
    name = PurePosixPath(path)
    return name.name.lower() in ("makefile", "gnumakefile", "justfile") or name.suffix in (
        ".mk",
        ".mak",
    )


def _open(path: str, data: bytes, setting: Setting) -> Makefile:
    return Makefile(text_source(path, data), setting)


KIND = Kind("makefile", _claims, _open)
