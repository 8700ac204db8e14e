"""Shell scripts, batch jobs among them, and the shell in other files."""

import re
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from pathlib import PurePosixPath

from cordee.core.errors import SourceError
from cordee.port.documents.kind import Kind
from cordee.port.documents.lexer import read
from cordee.port.documents.mentions import mentions
from cordee.port.documents.words import Script
from cordee.port.python.file import PythonFile, Span
from cordee.port.rule import Part
from cordee.port.setting import Setting
from cordee.port.source import Source, text_source

SUFFIXES = frozenset({
    ".sh", ".bash", ".zsh", ".ksh", ".slurm", ".sbatch", ".job", ".pbs", ".lsf", ".qsub", ".env",
    ".command",
})  # fmt: skip
NAMES = frozenset({".envrc", ".env", ".bashrc", ".bash_profile", ".profile", ".zshrc"})
SHEBANG = re.compile(rb"#!.*\b(?:ba|z|k|da)?sh\b")


class ShellFile:
    """Commands and assignments; here-documents that Python reads are parts."""

    kind = "shell"

    def __init__(self, source: Source, setting: Setting) -> None:
        self.source, self.setting = source, setting

    @cached_property
    def script(self) -> Script:
        """What the lexer reads in it."""
        return read(self.source.text, 0, len(self.source.text))

    def nodes(self) -> Iterator[object]:
        """Commands, assignments, directives, and the lines that speak of NVIDIA."""
        yield from self.script.nodes
        python = [Span(part.offsets[0], part.offsets[-1]) for part in self._python]
        yield from mentions(self.source, [*self.script.quiet, *python])

    def parts(self) -> Iterator[Part]:
        """Python in here-documents and behind `python -c`, where it is Python."""
        return iter(self._python)

    @cached_property
    def _python(self) -> list[Part]:
        found = []
        for span in self.script.python:
            text = self.source.text[span.start : span.end]
            try:
                document = PythonFile(Source(self.source.path, text), self.setting)
            except SourceError:
                continue
            quote = self.source.text[span.end : span.end + 1]
            escaped = QUOTED.get(quote, str) if text[-1:] != "\n" else str
            found.append(Part(document, tuple(range(span.start, span.end + 1)), escaped))
        return found


def _in_single(text: str) -> str:
    return text.replace("'", "'\\''")


def _in_double(text: str) -> str:
    return re.sub(r'(["$`\\])', r"\\\1", text)


# How new text is written between quotes of the shell's.
QUOTED: dict[str, Callable[[str], str]] = {"'": _in_single, '"': _in_double}


def shell_part(source: Source, pieces: Sequence[tuple[str, int]], setting: Setting) -> Part:
    """Shell made of characters of a file: each piece is a text and where it stands."""
    return Part(
        ShellFile(Source(source.path, "".join(text for text, _ in pieces)), setting),
        mapped(pieces),
    )


def mapped(pieces: Sequence[tuple[str, int]]) -> tuple[int, ...]:
    """Where each character of the pieces, put together, stands; and where they end."""
    offsets: list[int] = []
    for text, at in pieces:
        offsets += range(at, at + len(text))
    return (*offsets, offsets[-1] + 1 if offsets else 0)


def _claims(path: str, data: bytes) -> bool:
    name = PurePosixPath(path)
    if name.suffix.lower() in SUFFIXES or name.name in NAMES or name.name.startswith(".env."):
        return True
    return SHEBANG.match(data) is not None


def _open(path: str, data: bytes, setting: Setting) -> ShellFile:
    return ShellFile(text_source(path, data), setting)


KIND = Kind("shell", _claims, _open)
