"""The code of a notebook's cells, each character with its place in the JSON around it."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass

from cordee.core.errors import SourceError
from cordee.port.source import Source

SPACE = re.compile(r"\s*")
STRING = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
BARE = re.compile(r"[^\s,\]}:\"\[{]+")
PIECE = re.compile(
    r"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|\\u[0-9a-fA-F]{4}|\\.|.", re.DOTALL
)
DEEPEST = 100


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell. `offsets` says where each character stands, and last the place behind them."""

    kind: str  # code, markdown, raw
    text: str
    offsets: tuple[int, ...]


def cells(source: Source) -> list[Cell]:
    """The cells of a notebook, in their order. Raises `SourceError`."""
    return list(_Scanner(source).cells())


def escaped(text: str) -> str:
    """`text` as it stands inside of a JSON string."""
    return json.dumps(text, ensure_ascii=False)[1:-1]


@dataclass(slots=True)
class _Scanner:
    source: Source

    def cells(self) -> Iterator[Cell]:
        root = self._object(self._skip(0), 0)
        end = root.pop("", (0, 0))[1]
        if self._skip(end) != len(self.source.text):
            raise self._broken(end, "more after its end")
        place = root.get("cells")
        if place is None and "worksheets" in root:
            raise self._broken(0, "of a format before version 4; `jupyter nbconvert` makes it new")
        if place is None or self.source.text[place[0]] != "[":
            raise self._broken(0, "no list of cells")
        for start in self._items(place[0]):
            if self.source.text[start] != "{":
                raise self._broken(start, "a cell that is no object")
            found = self._object(start, 1)
            if "source" in found and "cell_type" in found:
                kind = self.source.text[slice(*found["cell_type"])].strip('"')
                yield self._cell(kind, found["source"][0])

    def _cell(self, kind: str, start: int) -> Cell:
        text = self.source.text
        starts = self._items(start) if text[start] == "[" else [start]
        characters: list[str] = []
        offsets: list[int] = []
        end = start + 1
        for at in starts:
            match = STRING.match(text, at)
            if match is None:
                raise self._broken(at, "source that is no text")
            end = match.end() - 1
            for piece in PIECE.finditer(text, at + 1, end):
                meant = self._meant(piece)
                characters.append(meant)
                offsets += [piece.start()] * len(meant)
        return Cell(kind, "".join(characters), (*offsets, end))

    def _meant(self, piece: re.Match[str]) -> str:
        if piece[0][0] != "\\":
            return piece[0]
        try:
            return str(json.loads(f'"{piece[0]}"'))
        except ValueError as error:
            raise self._broken(piece.start(), f"an escape that JSON lacks: {piece[0]}") from error

    def _object(self, at: int, depth: int) -> dict[str, tuple[int, int]]:
        """Where the values of an object begin and end, by key; under "" the object itself."""
        text, start = self.source.text, at
        if text[at : at + 1] != "{":
            raise self._broken(at, "no JSON object")
        found: dict[str, tuple[int, int]] = {}
        at = self._skip(at + 1)
        while text[at : at + 1] != "}":
            name = STRING.match(text, at)
            colon = self._skip(name.end()) if name else at
            if name is None or text[colon : colon + 1] != ":":
                raise self._broken(at, "no key of an object")
            begin = self._skip(colon + 1)
            end = self._value(begin, depth + 1)
            found[name[0][1:-1]] = (begin, end)
            at = self._next(end, "}")
        found[""] = (start, at + 1)
        return found

    def _items(self, at: int) -> list[int]:
        """Where the items of a list begin."""
        starts, at = [], self._skip(at + 1)
        while self.source.text[at : at + 1] != "]":
            starts.append(at)
            at = self._next(self._value(at, 1), "]")
        return starts

    def _next(self, at: int, closing: str) -> int:
        """Behind a comma, or at the closing bracket."""
        at = self._skip(at)
        if self.source.text[at : at + 1] == ",":
            return self._skip(at + 1)
        if self.source.text[at : at + 1] != closing:
            raise self._broken(at, f"no comma or `{closing}`")
        return at

    def _value(self, at: int, depth: int) -> int:
        text = self.source.text
        if depth > DEEPEST:
            raise self._broken(at, "too deep")
        if text[at : at + 1] == "{":
            return self._object(at, depth)[""][1]
        if text[at : at + 1] == "[":
            at = self._skip(at + 1)
            while text[at : at + 1] != "]":
                at = self._next(self._value(at, depth + 1), "]")
            return at + 1
        match = STRING.match(text, at) or BARE.match(text, at)
        if match is None:
            raise self._broken(at, "no value")
        return match.end()

    def _skip(self, at: int) -> int:
        match = SPACE.match(self.source.text, at)
        return match.end() if match else at

    def _broken(self, at: int, what: str) -> SourceError:
        line, column = self.source.position(min(at, len(self.source.text)))
        return SourceError(
            f"{self.source.path}: line {line}, column {column}: a notebook with {what}"
        )
