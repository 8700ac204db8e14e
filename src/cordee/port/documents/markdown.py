"""Markdown: what stands between fences is judged, prose is not."""

import re
from collections.abc import Callable, Iterator
from pathlib import PurePosixPath

from cordee.core.errors import SourceError
from cordee.port.documents.data import DataFile
from cordee.port.documents.dockerfile import Dockerfile
from cordee.port.documents.kind import Kind
from cordee.port.documents.shell import ShellFile, mapped
from cordee.port.python.file import PythonFile
from cordee.port.rule import Document, Part
from cordee.port.setting import Setting
from cordee.port.source import Source, text_source

FENCE = re.compile(
    r"(?ms)^(?P<indent>[ \t>]*)(?P<fence>`{3,}|~{3,})[ \t]*\{?\.?(?P<language>[\w+\-]*)[^\n]*\n"
    r"(?P<body>.*?)(?:^[ \t>]*(?P=fence)[`~]*[ \t]*\r?$|\Z)"
)
PROMPT = re.compile(r"\s*(?:\([\w.\-]+\)\s*)?(?:[\w.\-]+@[\w.\-]+[^$#\n]{0,40})?[$%] +")
COMMAND = re.compile(
    r"\s*(?:\$ |pip3? |python[\d.]* |conda |mamba |uv |git |export |torchrun |docker |cd |sudo |apt|"
    r"deepspeed |accelerate |srun |sbatch |bash |sh |make |[A-Z_]{3,}=\S)"
)


def _data(kind: str) -> Callable[[Source, Setting], Document]:
    return lambda source, setting: DataFile(kind, source, setting)


LANGUAGES: dict[str, Callable[[Source, Setting], Document]] = {
    **dict.fromkeys(
        ("bash", "sh", "shell", "zsh", "console", "shell-session", "shellsession"), ShellFile
    ),
    **dict.fromkeys(("python", "py", "python3"), PythonFile),
    **dict.fromkeys(("dockerfile", "docker", "Dockerfile"), Dockerfile),
    **dict.fromkeys(("yaml", "yml"), _data("yaml")),
    **dict.fromkeys(("json", "jsonc", "json5"), _data("json")),
    **{kind: _data(kind) for kind in ("toml", "ini")},
}


class Markdown:
    """Nothing but fenced blocks."""

    kind = "markdown"

    def __init__(self, source: Source, setting: Setting) -> None:
        self.source, self.setting = source, setting

    def nodes(self) -> Iterator[object]:
        """None of its own."""
        return iter(())

    def parts(self) -> Iterator[Part]:
        """Blocks whose language is known, or which look like commands."""
        for match in FENCE.finditer(self.source.text):
            opened = self._language(match)
            pieces = list(_lines(match, opened is ShellFile))
            if opened is None or not pieces:
                continue
            text = "".join(piece for piece, _ in pieces)
            try:
                document = opened(Source(self.source.path, text), self.setting)
            except SourceError:
                continue
            yield Part(document, mapped(pieces))

    def _language(self, match: re.Match[str]) -> Callable[[Source, Setting], Document] | None:
        if match["language"]:
            return LANGUAGES.get(match["language"].lower())
        return ShellFile if COMMAND.match(match["body"].lstrip("\n")) else None


def _lines(match: re.Match[str], shell: bool) -> Iterator[tuple[str, int]]:
    """The lines of a block without indentation and prompts; of a session, what was typed."""
    lines = match["body"].splitlines(keepends=True)
    session = shell and any(PROMPT.match(line) for line in lines)
    at = match.start("body")
    typed = False
    for line in lines:
        skipped = _common(line, match["indent"])
        prompt = PROMPT.match(line) if session else None
        if not session or prompt or typed:
            begin = prompt.end() if prompt else skipped
            yield line[begin:], at + begin
            typed = line.rstrip().endswith("\\")
        at += len(line)


def _common(line: str, indent: str) -> int:
    """How much of a line's beginning is the block's indentation."""
    count = 0
    while count < min(len(line), len(indent)) and line[count] in " \t>":
        count += 1
    return count


def _claims(path: str, data: bytes) -> bool:
    return PurePosixPath(path).suffix.lower() in (".md", ".mdx", ".markdown")


def _open(path: str, data: bytes, setting: Setting) -> Markdown:
    return Markdown(text_source(path, data), setting)


KIND = Kind("markdown", _claims, _open)
