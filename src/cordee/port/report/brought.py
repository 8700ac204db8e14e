"""The files that fixes bring with them, and which findings need them."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from urllib.parse import quote

from cordee.port.finding import NewFile
from cordee.port.ties import File, State, Tie


@dataclass(frozen=True, slots=True)
class Brought:
    """One new file."""

    path: str
    text: str
    ties: tuple[Tie, ...]  # that need it

    @property
    def anchor(self) -> str:
        """What its place in the page is called."""
        return anchor(self.path)

    @property
    def lines(self) -> int:
        """How long it is."""
        return len(self.text.splitlines())

    @property
    def address(self) -> str:
        """The part of the page's address that shows the first file that needs it."""
        return f"#path={quote(self.ties[0].finding.path, errors='replace')}" if self.ties else ""


def brought(files: Iterable[File], new: Sequence[NewFile] | None) -> list[Brought]:
    """The new files of a port, or where there was none, those that it would bring."""
    needed: dict[NewFile, list[Tie]] = {}
    for tie in _rewritten(files):
        for file in tie.finding.fix.files if tie.finding.fix else ():
            needed.setdefault(file, []).append(tie)
    shown = list(needed) if new is None else new
    ordered = sorted(shown, key=lambda file: file.path)
    return [Brought(f.path, f.text, tuple(needed.get(f, ()))) for f in ordered]


def anchor(path: str) -> str:
    """The name of a file's place in the page; it holds no "=", which filters have."""
    return f"new-{quote(path, safe='', errors='replace')}".replace("%", "_")


def _rewritten(files: Iterable[File]) -> Iterator[Tie]:
    for file in files:
        for tie in file.ties:
            if tie.state in (State.REWRITTEN, State.REWRITABLE):
                yield tie
