"""Files of a program's options, which it reads in place of a command line: `@train.args`."""

import re
from functools import cached_property
from pathlib import PurePosixPath

from cordee.port.documents.kind import Kind
from cordee.port.documents.lexer import read
from cordee.port.documents.shell import ShellFile
from cordee.port.documents.words import Script
from cordee.port.python.file import Span
from cordee.port.setting import Setting
from cordee.port.source import text_source

SUFFIXES = frozenset({".args", ".opts", ".flags", ".rsp"})
COMMENT = re.compile(r"^[ \t]*#[^\n]*", re.MULTILINE)


class ArgumentsFile(ShellFile):
    """One command of shell, of which lines are no ends: an option may stand on the line before its value."""

    @cached_property
    def script(self) -> Script:
        """What the lexer reads in it, behind whose comments the command goes on."""
        comments = list(COMMENT.finditer(self.source.text))
        text = COMMENT.sub(lambda found: " " * len(found[0]), self.source.text)
        script = read(re.sub(r"[\r\n]", " ", text), 0, len(text))
        script.quiet += [Span(*comment.span()) for comment in comments]
        return script


def _claims(path: str, data: bytes) -> bool:
    return PurePosixPath(path).suffix.lower() in SUFFIXES


def _open(path: str, data: bytes, setting: Setting) -> ArgumentsFile:
    return ArgumentsFile(text_source(path, data), setting)


KIND = Kind("shell", _claims, _open)
