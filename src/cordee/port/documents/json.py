"""Reads JSON, with comments and commas too many as editors allow them, and knows its places."""

import json
import re
from collections.abc import Iterator

from cordee.port.documents.entries import Entry, Path
from cordee.port.python.file import Span

SPACE = re.compile(r"(?:[\s,\ufeff]|//[^\n]*|/\*.*?\*/)*", re.DOTALL)
STRING = re.compile(r'"[^"\\\n]*(?:\\.[^"\\\n]*)*"')
BARE = re.compile(r"[^\s,\]}:\"]+")
DEEPEST = 100


class NotJson(ValueError):
    """What stands at an offset is no JSON."""


def entries(text: str) -> list[Entry]:
    """Every scalar and every key. Raises `NotJson`."""
    found: list[Entry] = []
    at = _value(text, _skip(text, 0), (), None, found)
    if _skip(text, at) != len(text):
        raise NotJson(f"offset {at}: more after the end")
    return found


def comments(text: str) -> Iterator[Span]:
    """Comments, as far as they begin a line or follow a value."""
    for match in re.finditer(r"(?m)(?:^|[,\s{\[])(//[^\n]*)|/\*.*?\*/", text):
        yield Span(match.start(), match.end())


def _value(text: str, at: int, path: Path, key: Span | None, found: list[Entry]) -> int:
    if len(path) > DEEPEST:
        raise NotJson(f"offset {at}: too deep")
    if text[at : at + 1] in ("{", "["):
        place = len(found)
        end = _object(text, at, path, found) if text[at] == "{" else _array(text, at, path, found)
        if key is not None:
            found.insert(place, Entry(path, None, Span(at, end), None, key))
        return end
    if match := STRING.match(text, at):
        inner = None if "\\" in match[0] else Span(at + 1, match.end() - 1)
        found.append(Entry(path, string(match[0]), Span(at, match.end()), inner, key, '"'))
        return match.end()
    if match := BARE.match(text, at):
        span = Span(at, match.end())
        found.append(Entry(path, match[0], span, span, key))
        return match.end()
    raise NotJson(f"offset {at}: no value")


def _object(text: str, at: int, path: Path, found: list[Entry]) -> int:
    at = _skip(text, at + 1)
    while text[at : at + 1] != "}":
        name = STRING.match(text, at)
        if name is None:
            raise NotJson(f"offset {at}: no key")
        colon = _skip(text, name.end())
        if text[colon : colon + 1] != ":":
            raise NotJson(f"offset {colon}: no colon")
        key = Span(at + 1, name.end() - 1)
        at = _value(text, _skip(text, colon + 1), (*path, string(name[0])), key, found)
        at = _skip(text, at)
    return at + 1


def _array(text: str, at: int, path: Path, found: list[Entry]) -> int:
    at, number = _skip(text, at + 1), 0
    while text[at : at + 1] != "]":
        at = _skip(text, _value(text, at, (*path, number), None, found))
        number += 1
    return at + 1


def string(written: str) -> str:
    """The text that a JSON string holds."""
    try:
        return str(json.loads(written, strict=False))
    except ValueError:
        return written[1:-1]


def _skip(text: str, at: int) -> int:
    match = SPACE.match(text, at)
    return match.end() if match else at
