"""A text file that can be written back byte for byte."""

import codecs
import io
import re
import tokenize
from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from cordee.core.errors import SourceError
from cordee.port.finding import Fix, apply

LINE_END = re.compile(r"\r\n|\n|\r")


@dataclass(frozen=True)
class Source:
    """The text of one file, and how it becomes bytes again. Offsets count characters."""

    path: str  # relative to the repository, with slashes
    text: str
    encoding: str = "utf-8"
    bom: bytes = b""

    @cached_property
    def line_starts(self) -> list[int]:
        """The offset at which each line begins."""
        return [0, *(match.end() for match in LINE_END.finditer(self.text))]

    @cached_property
    def newline(self) -> str:
        """What ends the first line."""
        match = LINE_END.search(self.text)
        return match.group() if match else "\n"

    def position(self, offset: int) -> tuple[int, int]:
        """Line and column of an offset, from 1."""
        line = bisect_right(self.line_starts, offset)
        return line, offset - self.line_starts[line - 1] + 1

    def line(self, number: int) -> str:
        """One line without its end; lines count from 1."""
        start = self.line_starts[number - 1]
        match = LINE_END.search(self.text, start)
        return self.text[start : match.start() if match else len(self.text)]

    def fixed(self, fixes: Iterable[Fix]) -> bytes:
        """The file's bytes with agreeing fixes made."""
        return self.bom + apply(self.text, fixes).encode(self.encoding)


def python_source(path: str, data: bytes) -> Source:
    """A Python file, decoded as Python would. Raises `SourceError`."""
    try:
        encoding, _ = tokenize.detect_encoding(io.BytesIO(data).readline)
    except SyntaxError as error:
        raise SourceError(f"{path}: {error}") from error
    return _decoded(path, data, "utf-8" if encoding == "utf-8-sig" else encoding)


def text_source(path: str, data: bytes) -> Source:
    """Any other text: UTF-8, or where it is not, Latin-1, which reads and writes every byte."""
    try:
        return _decoded(path, data, "utf-8")
    except SourceError:
        return _decoded(path, data, "latin-1")


def _decoded(path: str, data: bytes, encoding: str) -> Source:
    bom = codecs.BOM_UTF8 if data.startswith(codecs.BOM_UTF8) and encoding == "utf-8" else b""
    try:
        text = data[len(bom) :].decode(encoding)
        same = text.encode(encoding) == data[len(bom) :]
    except UnicodeError as error:
        raise SourceError(f"{path}: is not {encoding}: {error}") from error
    if not same:
        raise SourceError(f"{path}: cannot be written back as {encoding} unchanged")
    return Source(path, text, encoding, bom)
