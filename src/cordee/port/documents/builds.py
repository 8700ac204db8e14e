"""Build files: CMake's commands, and the lines of Bazel's and Meson's files."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import NoReturn

from cordee.port.documents.kind import Kind
from cordee.port.python.file import Span
from cordee.port.setting import Setting
from cordee.port.source import Source, text_source

MESON = "meson.build"
BAZEL = frozenset({"BUILD", "BUILD.bazel", "WORKSPACE", "WORKSPACE.bazel", "MODULE.bazel"})
COMMAND = re.compile(r"^[ \t]*(\w+)[ \t]*\(", re.MULTILINE)
PIECE = re.compile(r'#\[(=*)\[.*?\]\1\]|#[^\n]*|"(?:[^"\\]|\\.)*"|[()]', re.DOTALL)


@dataclass(frozen=True, slots=True)
class Command:
    """A command of CMake, with its arguments as they are written."""

    name: str  # lower case
    arguments: str  # without comments
    span: Span


@dataclass(frozen=True, slots=True)
class BuildLine:
    """A line of another build file, without its comment."""

    text: str
    span: Span


class BuildFile:
    """What says how to compile a repository."""

    def __init__(self, source: Source, setting: Setting) -> None:
        self.source = source
        self.setting = setting
        name = PurePosixPath(source.path).name
        self.kind = "cmake" if name == "CMakeLists.txt" or name.endswith(".cmake") else "make"

    def nodes(self) -> Iterator[Command | BuildLine]:
        """Commands, or lines."""
        return self._commands() if self.kind == "cmake" else self._lines()

    def parts(self) -> Iterator[NoReturn]:
        """Nothing."""
        return iter(())

    def _commands(self) -> Iterator[Command]:
        text, at = self.source.text, 0
        while (opening := COMMAND.search(text, at)) is not None:
            line = text.rfind("\n", 0, opening.start(1)) + 1
            if "#" in text[line : opening.start(1)]:
                at = opening.end()
                continue
            pieces, end = self._arguments(opening.end())
            yield Command(opening[1].lower(), pieces, Span(opening.start(1), end))
            at = end

    def _arguments(self, start: int) -> tuple[str, int]:
        """What is between the parentheses, and where they end."""
        text, depth, at = self.source.text, 1, start
        kept: list[str] = []
        for piece in PIECE.finditer(text, start):
            comment = piece.group().startswith("#")
            kept.append(text[at : piece.start() if comment else piece.end()])
            at = piece.end()
            depth += {"(": 1, ")": -1}.get(piece.group(), 0)
            if depth == 0:
                break
        return "".join(kept).removesuffix(")"), at

    def _lines(self) -> Iterator[BuildLine]:
        for number, start in enumerate(self.source.line_starts, start=1):
            text = self.source.line(number)
            bare = re.sub(r"(?:^|\s)#.*", "", text)
            if bare.strip():
                lead = len(bare) - len(bare.lstrip())
                yield BuildLine(bare, Span(start + lead, start + len(bare.rstrip())))


def _claims(path: str, data: bytes) -> bool:
    name = PurePosixPath(path).name
    cmake = name == "CMakeLists.txt" or name.endswith(".cmake")
    return cmake or name == MESON or name in BAZEL or name.endswith(".bzl")


def _open(path: str, data: bytes, setting: Setting) -> BuildFile:
    return BuildFile(text_source(path, data), setting)


KIND = Kind("build", _claims, _open)
