"""Patches of other programs: what they leave or add is looked at, and not what they take away."""

import re
from collections.abc import Iterator
from functools import cached_property
from pathlib import PurePosixPath

from cordee.port.documents import cpp
from cordee.port.documents.kind import Kind
from cordee.port.documents.mentions import mentions
from cordee.port.documents.shell import mapped
from cordee.port.python.file import Span
from cordee.port.rule import Part
from cordee.port.setting import Setting
from cordee.port.source import Source, text_source

LINE = re.compile(r"[^\n]*\n?")
NAMED = re.compile(r"\+\+\+ (?:b/)?([^\t\r\n]+)")


class PatchFile:
    """Parts are the sources of C++ and CUDA, which can be read in pieces; of the rest, lines."""

    kind = "patch"

    def __init__(self, source: Source, setting: Setting) -> None:
        self.source, self.setting = source, setting

    def nodes(self) -> Iterator[object]:
        """Added lines that speak of NVIDIA, outside of the parts."""
        read = {at for name, pieces in self._files if _is_cpp(name) for _, at in pieces}
        added = {at for _, pieces in self._files for _, at in pieces if self._sign(at) == "+"}
        quiet = [
            Span(line.start(), line.end())
            for line in LINE.finditer(self.source.text)
            if line.start() + 1 not in added - read
        ]
        yield from mentions(self.source, quiet)

    def parts(self) -> Iterator[Part]:
        """Each file of C++ or CUDA as the patch leaves it."""
        for name, pieces in self._files:
            if _is_cpp(name) and any(self._sign(at) == "+" for _, at in pieces):
                text = "".join(text for text, _ in pieces)
                document = cpp.CppFile(Source(name, text), self.setting)
                yield Part(document, mapped(pieces))

    def _sign(self, at: int) -> str:
        return self.source.text[at - 1]

    @cached_property
    def _files(self) -> list[tuple[str, list[tuple[str, int]]]]:
        """The name of each file that is changed, and its lines behind their signs, with places."""
        files: list[tuple[str, list[tuple[str, int]]]] = []
        for line in LINE.finditer(self.source.text):
            if named := NAMED.match(line[0]):
                files.append((named[1].strip(), []))
            elif line[0].startswith(("+", " ")) and files:
                files[-1][1].append((line[0][1:], line.start() + 1))
            elif line[0].startswith("diff "):
                files.append(("", []))
        return files


def _is_cpp(name: str) -> bool:
    return PurePosixPath(name).suffix in (*cpp.CUDA, *cpp.CPP)


def _claims(path: str, data: bytes) -> bool:
    return PurePosixPath(path).suffix.lower() in (".patch", ".diff")


def _open(path: str, data: bytes, setting: Setting) -> PatchFile:
    return PatchFile(text_source(path, data), setting)


KIND = Kind("patch", _claims, _open)
