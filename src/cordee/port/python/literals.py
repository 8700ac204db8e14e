"""String literals as they are written: prefixes, quotes, and where their text lies."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

OPENING = re.compile(r"([A-Za-z]*)(\"\"\"|'''|\"|')")
GAP = re.compile(r"(?:\s|\\\r?\n|#[^\r\n]*)*")


@dataclass(frozen=True, slots=True)
class Literal:
    """One literal; several that stand side by side make one string. Offsets count characters."""

    prefix: str  # lower case: "", "r", "f", "rb" ...
    quote: str
    start: int  # of the prefix
    body: int  # of the text between the quotes
    end: int  # behind the closing quote

    @property
    def body_end(self) -> int:
        """Where the closing quote begins."""
        return self.end - len(self.quote)

    @property
    def raw(self) -> bool:
        """Whether a backslash means itself."""
        return "r" in self.prefix


def literals(text: str, start: int, end: int) -> Iterator[Literal]:
    """The literals that make up the string expression text[start:end]."""
    at = start
    while at < end and (opening := OPENING.match(text, at)):
        prefix, quote = opening[1].lower(), opening[2]
        close = _closing(text, opening.end(), quote, "f" in prefix)
        yield Literal(prefix, quote, at, opening.end(), close)
        gap = GAP.match(text, close)
        assert gap is not None
        at = gap.end()


def _closing(text: str, at: int, quote: str, formatted: bool) -> int:
    """The offset behind the quote that ends a literal whose text begins at `at`."""
    depth = 0
    while at < len(text):
        character = text[at]
        if character == "\\":
            at += 2
        elif text.startswith(quote, at) and depth == 0:
            return at + len(quote)
        elif formatted and character in "{}":
            at, depth = _brace(text, at, depth)
        elif depth and (nested := OPENING.match(text, at)) and nested[2] != quote:
            at = _closing(text, nested.end(), nested[2], "f" in nested[1].lower())
        elif text.startswith(quote, at):  # before Python 3.12 it ends the literal
            return at + len(quote)
        else:
            at += 1
    return at


def _brace(text: str, at: int, depth: int) -> tuple[int, int]:
    if depth == 0 and text[at : at + 2] in ("{{", "}}"):
        return at + 2, depth
    return at + 1, depth + (1 if text[at] == "{" else -1 if depth else 0)
