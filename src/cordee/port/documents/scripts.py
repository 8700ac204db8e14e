"""Shell inside of YAML, TOML and JSON: steps of pipelines, commands of containers."""

import re
from collections.abc import Iterator, Sequence
from itertools import groupby

from cordee.port.documents.entries import Entry, Path
from cordee.port.documents.shell import shell_part
from cordee.port.rule import Part
from cordee.port.setting import Setting
from cordee.port.source import Source

KEYS = frozenset({
    "run", "script", "before_script", "after_script", "command", "commands", "cmd", "entrypoint",
    "args", "install", "before_install", "setup", "setup_commands", "initialization_commands",
    "head_setup_commands", "worker_setup_commands", "postCreateCommand", "onCreateCommand",
    "postStartCommand", "updateContentCommand", "runArgs", "bash", "shell_command", "pre_cmd", "shell",
    "scripts", "tasks", "before_all", "before-all", "before_build", "before-build", "test-command",
    "test_command", "runcmd", "bootcmd", "userdata", "user-data", "inlineScript",
})  # fmt: skip
# What each key under these runs.
NAMED = frozenset({"postCreateCommand", "onCreateCommand", "postStartCommand", "scripts", "tasks"})
# Lists under these keys are the words of one command.
WORDS = frozenset({"command", "args", "cmd", "entrypoint", "runArgs"})


def is_script(entry: Entry) -> bool:
    """Whether the value is shell, or a word of it."""
    named = bool(NAMED.intersection(entry.keys[-2:-1])) and isinstance(entry.path[-1], str)
    return entry.value is not None and (entry.key in KEYS or named)


def scripts(source: Source, setting: Setting, entries: Sequence[Entry]) -> Iterator[Part]:
    """Each script, or each list of words, as shell."""
    wanted = [entry for entry in entries if is_script(entry)]
    for _, group in groupby(wanted, key=_together):
        pieces: list[tuple[str, int]] = []
        for entry in group:
            pieces += _pieces(source, entry)
        if pieces:
            yield shell_part(source, pieces, setting)


def _together(entry: Entry) -> tuple[Path, int]:
    """The words of one command are read together, everything else for itself."""
    above = entry.path[:-1]
    words = bool(above) and isinstance(entry.path[-1], int) and above[-1] in WORDS
    return (above, -1) if words else (entry.path, entry.span.start)


def _pieces(source: Source, entry: Entry) -> list[tuple[str, int]]:
    if entry.block:
        return _block(source, entry)
    text = source.text
    if entry.inner is not None:
        inner = entry.inner
        written = text[inner.start : inner.end]
        return [(written, inner.start), (" ", inner.end)] if written else []
    if entry.quote or "\n" not in text[entry.span.start : entry.span.end]:
        return []
    # A plain scalar over lines: the lines are one.
    return _lines(source, entry.span.start, entry.span.end, " ")


def _block(source: Source, entry: Entry) -> list[tuple[str, int]]:
    header = source.text.find("\n", entry.span.start)
    if header < 0:
        return []
    return _lines(source, header + 1, entry.span.end, "\n" if entry.block == "|" else " ")


def _lines(source: Source, start: int, end: int, joint: str) -> list[tuple[str, int]]:
    """Lines without their indentation; template lines are left out."""
    pieces: list[tuple[str, int]] = []
    for match in re.compile(r"([^\n]*)(\n|$)").finditer(source.text, start, end):
        line = match[1]
        if match.start() == match.end() or line.lstrip().startswith("{{-"):
            continue
        stripped = line.lstrip()
        at = match.start() + len(line) - len(stripped)
        pieces.append((stripped, at))
        if match[2]:
            pieces.append((joint, match.start(2)))
    return pieces
