"""Dockerfiles: their instructions, what they assign, and the shell they run."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePosixPath

from cordee.port.documents.kind import Kind
from cordee.port.documents.lexer import read
from cordee.port.documents.mentions import mentions
from cordee.port.documents.shell import shell_part
from cordee.port.documents.words import Assignment, Word
from cordee.port.python.file import Span
from cordee.port.rule import Part
from cordee.port.setting import Setting
from cordee.port.source import Source, text_source

INSTRUCTION = re.compile(r"[ \t]*(ONBUILD[ \t]+)?([A-Za-z]+)(?=[ \t]|\\?$)", re.MULTILINE)
KNOWN = frozenset(
    [
        "FROM",
        "RUN",
        "CMD",
        "LABEL",
        "MAINTAINER",
        "EXPOSE",
        "ENV",
        "ADD",
        "COPY",
        "ENTRYPOINT",
        "VOLUME",
        "USER",
        "WORKDIR",
        "ARG",
        "STOPSIGNAL",
        "HEALTHCHECK",
        "SHELL",
    ]
)
SHELL = frozenset({"RUN", "CMD", "ENTRYPOINT"})
FLAG = re.compile(r"[ \t]*--[a-z]+(?:=\S*)?(?:[ \t]+|\\\n)*")
EXEC = re.compile(r"[ \t]*\[")
LIST_ITEM = re.compile(r'"((?:[^"\\\n])*)"')
HEREDOC = re.compile(r"<<-?[ \t]*(['\"]?)(\w+)\1")


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction: its name in capitals, and where the rest of it stands."""

    name: str
    rest: Span
    words: tuple[Word, ...]
    lines: tuple[Span, ...]  # those of its lines that are no comments


class Dockerfile:
    """Instructions and assignments; what RUN, CMD and ENTRYPOINT run is shell."""

    kind = "dockerfile"

    def __init__(self, source: Source, setting: Setting) -> None:
        self.source, self.setting = source, setting

    @cached_property
    def instructions(self) -> list[Instruction]:
        """In the order of the text."""
        return list(_instructions(self.source))

    def nodes(self) -> Iterator[object]:
        """Instructions, assignments, and lines that speak of NVIDIA."""
        for instruction in self.instructions:
            yield instruction
            yield from self._assignments(instruction)
        comments = re.finditer(r"(?m)^[ \t]*#[^\n]*", self.source.text)
        quiet = [Span(match.start(), match.end()) for match in comments]
        quiet += [i.rest for i in self.instructions if i.name in SHELL]
        yield from mentions(self.source, quiet)

    def parts(self) -> Iterator[Part]:
        """Shell."""
        for instruction in self.instructions:
            if instruction.name in SHELL:
                yield shell_part(self.source, self._pieces(instruction), self.setting)

    def _pieces(self, instruction: Instruction) -> list[tuple[str, int]]:
        text, first = self.source.text, instruction.lines[0].start
        while flag := FLAG.match(text, first, instruction.rest.end):
            first = flag.end()
        if EXEC.match(text, first) and _is_list(text[first : instruction.rest.end]):
            items = LIST_ITEM.finditer(text, first, instruction.rest.end)
            return [p for m in items for p in ((m[1], m.start(1)), (" ", m.end(1)))]
        spans = [Span(max(s.start, first), s.end) for s in instruction.lines if s.end > first]
        return [(text[span.start : span.end], span.start) for span in spans]

    def _assignments(self, instruction: Instruction) -> Iterator[Assignment]:
        if instruction.name not in ("ENV", "ARG"):
            return
        said = self.source.text
        words = instruction.words
        if words and "=" not in words[0].text and instruction.name == "ENV":
            yield from self._old_style(instruction)
            return
        another = " {name}={value}"
        if instruction.name == "ARG" and len(words) == 1:
            another = f"{self.source.newline}ARG {{name}}={{value}}"
        for word in words:
            name, sign, _ = word.text.partition("=")
            if sign:
                at = word.span.start + len(name) + 1
                value = Word(
                    Span(at, word.span.end),
                    word.text[len(name) + 1 :],
                    word.value.partition("=")[2],
                    word.literal,
                )
                yield Assignment(name, value, word.span, True, said, another)

    def _old_style(self, instruction: Instruction) -> Iterator[Assignment]:
        """`ENV NAME value`."""
        first = instruction.words[0]
        span = Span(first.span.start, instruction.rest.end)
        written = self.source.text[first.span.end : span.end]
        value = written.strip()
        if not value or len(instruction.lines) > 1:
            return
        at = first.span.end + written.index(value)
        place = Span(at, at + len(value))
        another = f"{self.source.newline}ENV {{name}} {{value}}"
        literal = "$" not in value
        word = Word(place, value, value.strip("'\""), literal)
        span = Span(span.start, place.end)
        yield Assignment(first.value, word, span, True, self.source.text, another)


def _instructions(source: Source) -> Iterator[Instruction]:
    number, last = 1, len(source.line_starts)
    while number <= last:
        start = source.line_starts[number - 1]
        match = INSTRUCTION.match(source.text, start)
        if match is None or match[2].upper() not in KNOWN:
            number += 1
            continue
        lines, number = _lines(source, number, match.end())
        rest = Span(match.end(), lines[-1].end)
        words = [
            word
            for line in lines
            for command in read(source.text, line.start, line.end).nodes
            for word in _words(command)
        ]
        yield Instruction(match[2].upper(), rest, tuple(words), tuple(lines))


def _words(node: object) -> tuple[Word, ...]:
    """The words of a line, those that look like assignments among them."""
    if isinstance(node, Assignment):
        start = node.span.start
        head = f"{node.name}="
        written = Word(Span(start, node.span.end), head + node.value.text, head + node.value.value)
        return (written,) if node.value.literal else (_computed(written),)
    words = getattr(node, "words", ())
    return tuple(words)


def _computed(word: Word) -> Word:
    return Word(word.span, word.text, word.value, False)


def _lines(source: Source, number: int, start: int) -> tuple[list[Span], int]:
    """The lines of one instruction, those of its here-documents too, and the number behind them."""
    lines: list[Span] = []
    pending = []
    while number <= len(source.line_starts):
        text = source.line(number)
        begin = max(source.line_starts[number - 1], start)
        number += 1
        if text.lstrip().startswith("#") and lines:
            continue
        end = source.line_starts[number - 1] if number <= len(source.line_starts) else None
        lines.append(Span(begin, len(source.text) if end is None else end))
        pending += [match[2] for match in HEREDOC.finditer(text)]
        if not text.rstrip().endswith("\\"):
            break
    for word in pending:
        while number <= len(source.line_starts):
            text = source.line(number)
            begin = source.line_starts[number - 1]
            number += 1
            end = source.line_starts[number - 1] if number <= len(source.line_starts) else None
            lines.append(Span(begin, len(source.text) if end is None else end))
            if text.strip() == word:
                break
    last = lines[-1]
    trimmed = source.text[last.start : last.end].rstrip("\r\n")
    return [*lines[:-1], Span(last.start, last.start + len(trimmed))], number


def _is_list(text: str) -> bool:
    try:
        return isinstance(json.loads(text.replace("\\\n", "")), list)
    except ValueError:
        return False


def _claims(path: str, data: bytes) -> bool:
    name = PurePosixPath(path).name.lower()
    ends = name.endswith((".dockerfile", ".containerfile"))
    return ends or name.split(".")[0] in ("dockerfile", "containerfile") or (
        name.startswith(("dockerfile", "containerfile")) and not name.endswith((".py", ".md", ".sh"))
    )  # fmt: skip


def _open(path: str, data: bytes, setting: Setting) -> Dockerfile:
    return Dockerfile(text_source(path, data), setting)


KIND = Kind("dockerfile", _claims, _open)
