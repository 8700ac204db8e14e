"""Build files and scripts of other systems, of which only lines that speak of NVIDIA are told."""

import re
from collections.abc import Iterator
from pathlib import PurePosixPath

from cordee.port.documents.kind import Kind
from cordee.port.documents.mentions import mentions
from cordee.port.python.file import Span
from cordee.port.rule import Part
from cordee.port.setting import Setting
from cordee.port.source import Source, text_source

# By the end of the name: how a comment begins.
COMMENTS: dict[str, str] = {
    ".bat": r"(?i)^[ \t]*(?:rem\b|::)",
    ".cmd": r"(?i)^[ \t]*(?:rem\b|::)",
    ".ps1": r"#",
    ".fish": r"#",
    ".csh": r"#",
    ".tcsh": r"#",
    ".tf": r"#|//",
    ".hcl": r"#|//",
    ".jsonnet": r"#|//",
    ".nix": r"#",
    ".bzl": r"#",
    ".bazel": r"#",
    ".bazelrc": r"#",
    ".gradle": r"//",
    ".lua": r"--",
    ".def": r"#",
    ".sif": r"#",
    ".service": r"^[#;]",
    ".properties": r"^[#!]",
    ".j2": r"^[ \t]*#",
    ".jinja": r"^[ \t]*#",
    ".tpl": r"^[ \t]*#",
}
NAMES = {"Jenkinsfile": r"//", "BUILD": r"#", "WORKSPACE": r"#", "Vagrantfile": r"#"}


class PlainFile:
    """Text with comments."""

    kind = "text"

    def __init__(self, source: Source, setting: Setting, comment: str) -> None:
        self.source, self.setting, self.comment = source, setting, comment

    def nodes(self) -> Iterator[object]:
        """Lines that speak of NVIDIA, outside of comments."""
        places = re.finditer(f"(?m)(?:{self.comment})[^\\n]*", self.source.text)
        yield from mentions(self.source, [Span(match.start(), match.end()) for match in places])

    def parts(self) -> Iterator[Part]:
        """None."""
        return iter(())


def _comment(path: str) -> str | None:
    name = PurePosixPath(path)
    return COMMENTS.get(name.suffix.lower()) or NAMES.get(name.name)


def _claims(path: str, data: bytes) -> bool:
    return _comment(path) is not None


def _open(path: str, data: bytes, setting: Setting) -> PlainFile:
    return PlainFile(text_source(path, data), setting, _comment(path) or "#")


KIND = Kind("text", _claims, _open)
