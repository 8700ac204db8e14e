"""Notebooks: the code of all cells is one Python file, what goes to the shell is shell."""

import ast
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePosixPath

from cordee.core.errors import SourceError
from cordee.port.documents.cells import Cell, cells, escaped
from cordee.port.documents.kind import Kind
from cordee.port.documents.shell import ShellFile
from cordee.port.documents.words import Assignment, Word
from cordee.port.python.file import PythonFile, Span
from cordee.port.rule import Part
from cordee.port.setting import Setting
from cordee.port.source import Source, text_source

CELL_MAGIC = re.compile(r"\s*%%(\w+)[^\n]*\n?")
SHELL_CELLS = frozenset({"bash", "sh", "script", "shell"})
PYTHON_CELLS = frozenset(
    {"time", "timeit", "capture", "prun", "python", "python3", "memit", "debug"}
)
MAGIC = re.compile(
    r"(?m)^(?P<indent>[ \t]*)(?:[\w.,\[\] ]+=[ \t]*)?(?:!{1,2}|%(?=[A-Za-z]))(?P<said>[^\n]*(?:(?<=\\)\n[^\n]*)*)"
)
HELP = re.compile(r"(?m)^([ \t]*)(\?{1,2}[\w.*]+|[\w.*]+\?{1,2})[ \t]*$")
SETTING = re.compile(r"(?m)^[ \t]*%(?:set_)?env[ \t]+(\w+)(?:=|[ \t]+)([^\s#]+)[ \t]*(?:#[^\n]*)?$")


@dataclass(frozen=True, slots=True)
class BrokenCell:
    """A cell that is not Python, and is not looked at."""

    text: str
    span: Span


@dataclass(slots=True)
class _Code:
    """Text that grows, with the place of each of its characters."""

    text: str = ""
    offsets: tuple[int, ...] = ()


class Notebook:
    """Cells that do not parse are left out, and told of."""

    kind = "notebook"

    def __init__(self, source: Source, setting: Setting) -> None:
        self.source, self.setting = source, setting
        self._cells = [cell for cell in cells(source) if cell.kind == "code"]

    def nodes(self) -> Iterator[object]:
        """Cells that are not Python, and what `%env` assigns."""
        yield from self._read[2]
        for cell in self._cells:
            yield from _settings(cell, self.source)

    def parts(self) -> Iterator[Part]:
        """One Python file of all cells, and the shell in them."""
        python, shell, _ = self._read
        try:
            document = PythonFile(Source(self.source.path, python.text), self.setting)
        except SourceError:
            document = None
        if document is not None:
            yield Part(document, python.offsets, escaped)
        for code in shell:
            text = Source(self.source.path, code.text)
            yield Part(ShellFile(text, self.setting), code.offsets, escaped)

    @cached_property
    def _read(self) -> tuple[_Code, list[_Code], list[BrokenCell]]:
        python, shell, broken = [], [], []
        for cell in self._cells:
            kind, start = _magic(cell)
            if kind in SHELL_CELLS:
                shell.append(_Code(cell.text[start:], cell.offsets[start:]))
            elif not kind or kind in PYTHON_CELLS:
                code, commands = _split(cell, start)
                shell += commands
                if _parses(code.text):
                    python.append(code)
                else:
                    span = Span(cell.offsets[0], cell.offsets[-1])
                    broken.append(BrokenCell(cell.text, span))
        return _joined(python), shell, broken


def _magic(cell: Cell) -> tuple[str, int]:
    match = CELL_MAGIC.match(cell.text)
    return (match[1], match.end()) if match else ("", 0)


def _split(cell: Cell, start: int) -> tuple[_Code, list[_Code]]:
    """The Python of a cell, `pass` where magic was, and the shell in it."""
    text, commands = cell.text, []
    pieces: list[str] = []
    offsets: list[int] = []
    at = start
    places = [*MAGIC.finditer(text, start), *HELP.finditer(text, start)]
    inside = _strings(text[start:], start)
    for match in sorted(places, key=lambda match: match.start()):
        if match.start() < at or any(s <= match.start() < e for s, e in inside):
            continue
        indent = len(match[1])
        pieces.append(text[at : match.start() + indent] + "pass")
        offsets += cell.offsets[at : match.start() + indent]
        offsets += [cell.offsets[match.start() + indent]] * 4
        at = match.end()
        if "said" in match.re.groupindex and not SETTING.match(text, match.start()):
            begin, end = match.start("said"), match.end()
            commands.append(_Code(text[begin:end], cell.offsets[begin : end + 1]))
    pieces.append(text[at:])
    offsets += cell.offsets[at:]
    return _Code("".join(pieces), tuple(offsets)), commands


def _settings(cell: Cell, source: Source) -> Iterator[Assignment]:
    """`%env NAME=value`, which takes all of its line."""
    for match in SETTING.finditer(cell.text):
        name = Span(cell.offsets[match.start(1)], cell.offsets[match.end(1)])
        place = Span(cell.offsets[match.start(2)], cell.offsets[match.end(2)])
        if source.text[place.start : place.end] == match[2]:
            value = Word(place, match[2], match[2], not set("${") & set(match[2]))
            span = Span(name.start, place.end)
            another = "\\n%env {name}={value}"
            yield Assignment(match[1], value, span, True, source.text, another)


def _strings(text: str, start: int) -> list[tuple[int, int]]:
    """Where texts over lines are, in which a line that begins with ! is no magic."""
    found = re.finditer(r"(?s)('''|\"\"\")(?:\\.|.)*?\1", text)
    return [(match.start() + start, match.end() + start) for match in found]


def _parses(text: str) -> bool:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True


def _joined(codes: list[_Code]) -> _Code:
    """One after another; two line ends between them belong to no cell, and so stay empty."""
    text, offsets = [], []
    for code in codes:
        text.append(f"{code.text}\n\n")
        offsets += [*code.offsets[:-1], code.offsets[-1], code.offsets[-1]]
    return _Code("".join(text), (*offsets, offsets[-1] if offsets else 0))


def _claims(path: str, data: bytes) -> bool:
    return PurePosixPath(path).suffix == ".ipynb"


def _open(path: str, data: bytes, setting: Setting) -> Notebook:
    return Notebook(text_source(path, data), setting)


KIND = Kind("notebook", _claims, _open)
