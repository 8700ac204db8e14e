#!/usr/bin/env python3
"""Counts the lines of code of a folder, Python and C apart: without blank lines, comments and docstrings."""

import io
import re
import sys
import tokenize
from pathlib import Path

BLANK = {
    tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT,
    tokenize.ENDMARKER,
}  # fmt: skip
STARTS = {tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT}
C_COMMENT = re.compile(r"/\*.*?\*/|//[^\n]*", re.DOTALL)


def python_lines(text: str) -> int:
    """Lines that have a token which is neither a comment nor a text by itself."""
    found: set[int] = set()
    begins = True
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        alone = begins and token.type == tokenize.STRING
        if token.type not in BLANK and not alone:
            found |= set(range(token.start[0], token.end[0] + 1))
        if token.type not in (tokenize.COMMENT, tokenize.NL):
            begins = token.type in STARTS
    return len(found)


def c_lines(text: str) -> int:
    return sum(bool(line.strip()) for line in C_COMMENT.sub("", text).splitlines())


def main(folder: Path) -> None:
    python = sum(python_lines(file.read_text()) for file in folder.rglob("*.py"))
    native = sum(c_lines(file.read_text()) for file in folder.rglob("*.[ch]"))
    print(f"{folder}: {python:,} lines of Python, {native:,} of C")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "src/cordee/serve/engine"))
