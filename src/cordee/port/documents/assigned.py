"""Reads what TOML and INI files assign, line by line, and knows its places."""

import re
from collections.abc import Generator, Iterator

from cordee.port.documents.entries import Entry, Path
from cordee.port.python.file import Span
from cordee.port.source import Source

SECTION = re.compile(r"\s*\[{1,2}\s*([^\[\]]+?)\s*\]{1,2}\s*(?:[#;].*)?$")
KEY = re.compile(r"(\s*)([\"']?)([\w.\-*+ /\[\]]+?)\2\s*[=:]\s*")
TOKEN = re.compile(
    r"(?P<comment>#[^\n]*)|'''(?P<long>.*?)'''|\"\"\"(?P<longer>.*?)\"\"\""
    r"|\"(?P<double>(?:[^\"\\\n]|\\.)*)\"|'(?P<single>[^'\n]*)'"
    r"|(?P<key>[\w.\-]+)\s*=\s*(?=\S)|(?P<plain>[^\s,\[\]{}#\"'=]+)|(?P<bracket>[\[\]{}])",
    re.DOTALL,
)
COMMENT = re.compile(r"[ \t]*[#;][^\n]*")


def toml_entries(source: Source) -> Iterator[Entry]:
    """The scalars of a TOML file; those of lists and inline tables under the key that has them."""
    text, at = source.text, 0
    section: tuple[str, ...] = ()
    while at < len(text):
        end = _line_end(text, at)
        line = text[at:end]
        if header := SECTION.match(line):
            section = tuple(part.strip(" \"'") for part in header[1].split("."))
            at = end + 1
        elif (key := KEY.match(text, at, end)) and not COMMENT.match(line):
            path = (*section, *_steps(key))
            span = Span(key.start(3), key.end(3))
            at = yield from _toml_value(text, key.end(), path, span)
        else:
            at = end + 1


def _steps(key: re.Match[str]) -> tuple[str, ...]:
    return (key[3],) if key[2] else tuple(key[3].split("."))


def _toml_value(
    text: str, at: int, path: tuple[str, ...], key: Span
) -> Generator[Entry, None, int]:
    """Yields what one key is assigned; returns where the next line begins."""
    depth, number = 0, 0
    inline: tuple[str, ...] = ()
    while at < len(text):
        if depth == 0 and text[at] == "\n":
            return at + 1
        match = TOKEN.match(text, at)
        if match is None:
            at += 1
            continue
        at = match.end()
        if match["bracket"]:
            depth = max(depth + (1 if match[0] in "[{" else -1), 0)
        elif match["key"] and depth:
            inline = (match["key"],)
        elif not match["comment"]:
            group = "plain" if match["key"] else match.lastgroup or "plain"
            inner = Span(match.start(group), match.end(group)) if match[group] is not None else None
            value = match[group] if match[group] is not None else match[0]
            plain = inner if "\\" not in value and "\n" not in value else None
            steps: Path = (*path, *inline, number) if depth else path
            quote = match[0][0] if match[0][:1] in "\"'" else ""
            span = Span(match.start(), match.end())
            yield Entry(steps, value, span, plain, key if not depth else None, quote)
            number, inline = number + 1, ()
    return at


def ini_entries(source: Source) -> Iterator[Entry]:
    """The values of an INI file; one over lines is as many entries as it has lines."""
    section: tuple[str, ...] = ()
    name, number = "", 0
    for index, start in enumerate(source.line_starts, start=1):
        line = source.line(index)
        if not line.strip() or COMMENT.match(line):
            continue
        if header := SECTION.match(line):
            section, name = (header[1],), ""
            continue
        key = KEY.match(line)
        if key and not key[1]:
            name, number = key[3], 0
            span = Span(start + key.start(3), start + key.end(3))
            yield _ini(line, start, key.end(), (*section, name), span)
        elif name:
            indent = len(line) - len(line.lstrip())
            yield _ini(line, start, indent, (*section, name, number), None)
            number += 1


def _ini(line: str, start: int, at: int, path: tuple[str | int, ...], key: Span | None) -> Entry:
    value = re.split(r"\s[#;]", line[at:])[0].strip()
    span = Span(start + at, start + at + len(value))
    return Entry(path, value, span, span, key)


def comments(source: Source) -> Iterator[Span]:
    """Comments that take whole lines, and those behind values."""
    for match in re.finditer(r"(?m)^[ \t]*[#;][^\n]*|[ \t]#[^\n\"']*$", source.text):
        yield Span(match.start(), match.end())


def _line_end(text: str, at: int) -> int:
    found = text.find("\n", at)
    return len(text) if found < 0 else found
