"""One file with its fixes made, or the reason why they are not."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from cordee.core.errors import SourceError
from cordee.port.assessment import Judged
from cordee.port.documents import document
from cordee.port.finding import Finding, NewFile, Safety, agreeing
from cordee.port.setting import Setting
from cordee.port.source import Source

UNSAFE = "its fix is not safe: --unsafe makes it"
OVERLAPS = "its fix overlaps another that was made: port again"
NEEDS = "its fix needs a file that is there with another text"
BROKEN = "with its fixes the file would not parse: please report it"
CHANGED = "the file has changed while it was read"


@dataclass(frozen=True, slots=True)
class Left:
    """A finding that a person has to see to, and why its fix, if it has one, was not made."""

    finding: Finding
    why: str = ""


@dataclass(frozen=True, slots=True)
class Rewritten:
    """One file. Nothing changes where `before` is `after`."""

    path: str
    before: bytes
    after: bytes
    made: tuple[Finding, ...] = ()
    left: tuple[Left, ...] = ()


@dataclass(slots=True)
class NewFiles:
    """The files that fixes bring with them, by path; each is written once."""

    root: Path
    texts: dict[str, str] = field(default_factory=dict)

    def takes(self, files: tuple[NewFile, ...]) -> bool:
        """Whether a fix may have its files: no other text has their paths."""
        return all(self._text(file.path) in (None, file.text) for file in files)

    def add(self, files: tuple[NewFile, ...]) -> None:
        """Write these, where they are not there yet."""
        for file in files:
            if self._text(file.path) is None:
                self.texts[file.path] = file.text

    def _text(self, path: str) -> str | None:
        if path in self.texts:
            return self.texts[path]
        try:
            return (self.root / path).read_bytes().decode("utf-8")
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError):
            return ""


def rewritten(root: Path, file: Judged, new: NewFiles, unsafe: bool) -> Rewritten:
    """The file with all fixes that are allowed and agree with each other; earlier ones win."""
    data = (root / file.path).read_bytes()
    fixable = [finding for finding in file.findings if finding.fix is not None]
    if not fixable:
        return _untouched(file, data, "")
    try:
        opened = document(file.path, data, Setting())
        source = opened.source if opened is not None else None
    except SourceError:
        source = None
    if source is None or not all(_stands(source, finding) for finding in fixable):
        return _untouched(file, data, CHANGED)
    made, left = _choice(file.findings, new, unsafe)
    after = source.fixed(finding.fix for finding in made if finding.fix is not None)
    if not _parses(file.path, after):
        return _untouched(file, data, BROKEN)
    for finding in made:
        new.add(finding.fix.files if finding.fix else ())
    return Rewritten(file.path, data, after, tuple(made), tuple(left))


def _untouched(file: Judged, data: bytes, why: str) -> Rewritten:
    left = tuple(Left(finding, why) for finding in file.findings)
    return Rewritten(file.path, data, data, left=left)


def _choice(
    findings: tuple[Finding, ...], new: NewFiles, unsafe: bool
) -> tuple[list[Finding], list[Left]]:
    """The findings whose fixes are made, and the others."""
    why = {id(finding): _obstacle(finding, new, unsafe) for finding in findings}
    allowed = [finding for finding in findings if why[id(finding)] is None]
    kept, _ = agreeing(finding.fix for finding in allowed if finding.fix is not None)
    agreed = {id(fix) for fix in kept}
    made = [finding for finding in allowed if id(finding.fix) in agreed]
    done = {id(finding) for finding in made}
    left = [
        Left(finding, why[id(finding)] or (OVERLAPS if finding.fix else ""))
        for finding in findings
        if id(finding) not in done
    ]
    return made, left


def _obstacle(finding: Finding, new: NewFiles, unsafe: bool) -> str | None:
    """What keeps a fix from being made; empty where there is none."""
    if finding.fix is None:
        return ""
    if finding.fix.safety is not Safety.SAFE and not unsafe:
        return UNSAFE
    return None if new.takes(finding.fix.files) else NEEDS


def _stands(source: Source, finding: Finding) -> bool:
    """Whether the file still reads as it did when it was judged."""
    last = len(source.line_starts)
    return finding.end_line <= last and finding.code == "\n".join(_lines(source, finding))


def _lines(source: Source, finding: Finding) -> Iterator[str]:
    return (source.line(number) for number in range(finding.line, finding.end_line + 1))


def _parses(path: str, data: bytes) -> bool:
    try:
        return document(path, data, Setting()) is not None
    except (SourceError, RecursionError, MemoryError):
        return False
