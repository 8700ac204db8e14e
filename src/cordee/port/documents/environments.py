"""Environment variables that YAML, TOML and JSON set for what they start."""

import re
from collections.abc import Iterator, Sequence

from cordee.port.documents.entries import Entry
from cordee.port.documents.words import Assignment, Word
from cordee.port.python.file import Span
from cordee.port.source import Source

NAME = re.compile(r"[A-Z][A-Z0-9]*_[A-Z0-9_]+")
LISTED = re.compile(r"([A-Z][A-Z0-9]*_[A-Z0-9_]+)=(.*)", re.DOTALL)


def assignments(kind: str, source: Source, entries: Sequence[Entry]) -> Iterator[Assignment]:
    """What the entries say of the environment."""
    for entry, after in zip(entries, (*entries[1:], None), strict=False):
        if entry.value is None or entry.inner is None:
            continue
        if isinstance(entry.path[-1:][0] if entry.path else None, str):
            if NAME.fullmatch(entry.key) and entry.key_span is not None:
                yield _mapped(kind, source, entry)
            elif entry.key == "name" and NAME.fullmatch(entry.value) and after is not None:
                named = after.key == "value" and after.path[:-1] == entry.path[:-1]
                if named and after.inner is not None:
                    yield _named(source, entry, after)
        elif match := LISTED.fullmatch(entry.value):
            yield _listed(kind, source, entry, match)


def _mapped(kind: str, source: Source, entry: Entry) -> Assignment:
    """`NAME: value`."""
    assert entry.key_span is not None
    head = _head(source, entry.key_span.start)
    quote = entry.quote
    another = ""
    if kind == "json":
        another = f', "{{name}}": {quote}{{value}}{quote}'
    elif kind == "yaml" and not head.strip():
        another = f"{source.newline}{head}{{name}}: {quote}{{value}}{quote}"
    elif kind in ("toml", "ini") and not head.strip():
        another = f"{source.newline}{head}{{name}} = {quote}{{value}}{quote}"
    span = Span(entry.key_span.start, entry.span.end)
    return Assignment(entry.key, _word(entry), span, True, source.text, another)


def _named(source: Source, entry: Entry, value: Entry) -> Assignment:
    """`- name: NAME`, and on the next line its value."""
    assert entry.key_span is not None
    assert entry.inner is not None
    head = _head(source, entry.key_span.start)
    another = ""
    if re.fullmatch(r"\s*-\s+", head):
        deeper = head.replace("-", " ")
        quote = value.quote
        another = (
            f"{source.newline}{head}name: {{name}}"
            f"{source.newline}{deeper}value: {quote}{{value}}{quote}"
        )
    span = Span(entry.inner.start, value.span.end)
    return Assignment(entry.value or "", _word(value), span, True, source.text, another)


def _listed(kind: str, source: Source, entry: Entry, match: re.Match[str]) -> Assignment:
    """`- NAME=value`."""
    assert entry.inner is not None
    at = entry.inner.start + match.start(2)
    head = _head(source, entry.span.start)
    another = ""
    if kind == "yaml" and re.fullmatch(r"\s*-\s+['\"]?", head):
        another = f"{entry.quote}{source.newline}{head}{{name}}={{value}}"
        if entry.quote and not head.endswith(entry.quote):
            another = f"{entry.quote}{source.newline}{head}{entry.quote}{{name}}={{value}}"
    elif kind == "json" or source.text[entry.span.start] in "\"'":
        another = f"{entry.quote}, {entry.quote}{{name}}={{value}}"
    value = Word(Span(at, entry.inner.end), match[2], match[2], "$" not in match[2])
    return Assignment(match[1], value, entry.inner, True, source.text, another)


def _word(entry: Entry) -> Word:
    assert entry.inner is not None
    value = entry.value or ""
    return Word(entry.inner, value, value, "$" not in value and "{{" not in value)


def _head(source: Source, at: int) -> str:
    line, column = source.position(at)
    return source.line(line)[: column - 1]
