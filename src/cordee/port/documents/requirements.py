"""Files of requirements and constraints as pip reads them."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

from cordee.port.documents.kind import Kind
from cordee.port.documents.mentions import mentions
from cordee.port.documents.requirement import Requirement, pip_requirement
from cordee.port.documents.words import Word
from cordee.port.python.file import Span
from cordee.port.rule import Part
from cordee.port.setting import Setting
from cordee.port.source import Source, text_source

NAME = re.compile(r"(?:^|[-_.])(requirements?|constraints?|reqs)(?:[-_.]|$)|^requires\.")
OPTION = re.compile(r"\s*(?:-i|-f|--index-url|--extra-index-url|--find-links)[ =]\s*(\S+)")


@dataclass(frozen=True, slots=True)
class Index:
    """Where packages are taken from."""

    url: Word


class Requirements:
    """Requirements, one a line, and options."""

    kind = "requirements"

    def __init__(self, source: Source, setting: Setting) -> None:
        self.source, self.setting = source, setting

    def nodes(self) -> Iterator[object]:
        """Requirements, where they are taken from, and lines that speak of NVIDIA."""
        quiet = []
        for number, start in enumerate(self.source.line_starts, start=1):
            line = self.source.line(number)
            comment = re.search(r"(?:^|\s)#.*", line)
            if comment:
                quiet.append(Span(start + comment.start(), start + comment.end()))
            said = line[: comment.start()] if comment else line
            if option := OPTION.match(said):
                place = Span(start + option.start(1), start + option.end(1))
                yield Index(Word(place, option[1], option[1]))
            elif said.strip() and not re.match(r"\s*-(?!e\b|-editable)", said):
                at = start + len(said) - len(said.lstrip())
                another = f"{self.source.newline}{{requirement}}"
                found = pip_requirement(said.strip(), at, another, self.source.text)
                if found is not None:
                    yield found
        yield from mentions(self.source, quiet)

    def parts(self) -> Iterator[Part]:
        """None."""
        return iter(())


def _claims(path: str, data: bytes) -> bool:
    place = PurePosixPath(path)
    if place.suffix not in (".txt", ".in", ".pip"):
        return False
    return bool(NAME.search(place.name.lower())) or place.parent.name in ("requirements", "reqs")


def _open(path: str, data: bytes, setting: Setting) -> Requirements:
    return Requirements(text_source(path, data), setting)


KIND = Kind("requirements", _claims, _open)

__all__ = ["KIND", "Index", "Requirement", "Requirements"]
