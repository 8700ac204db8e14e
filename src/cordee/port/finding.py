"""What is said about one tie to NVIDIA: a Finding, and perhaps a Fix made of Edits."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class Meaning(StrEnum):
    """What a tie means on Ascend."""

    RUNS = "runs as is"
    RENAMED = "renamed"
    SIGNATURE = "other signature"
    SLOWER = "slower: host fallback"
    MISSING = "missing"


class Effort(StrEnum):
    """What is left for a person to do: minutes, hours, days."""

    S = "S"
    M = "M"
    L = "L"


class Confidence(StrEnum):
    """How sure we are that the code means what we say."""

    CERTAIN = "certain"
    LIKELY = "likely"
    UNSURE = "unsure"


class Safety(StrEnum):
    """How far a fix can be trusted; only SAFE ones are applied unless asked for."""

    SAFE = "safe"  # the same meaning on every chip that the style promises, proven by a case
    UNSAFE = "unsafe"  # likely right, a person should look


@dataclass(frozen=True, slots=True, order=True)
class Edit:
    """Replace the characters [start, end) of one file's text."""

    start: int
    end: int
    text: str


@dataclass(frozen=True, slots=True, order=True)
class NewFile:
    """A file that edits need in the repository.

    Several fixes may need the same one. Where the repository has another file of that path, a fix
    that needs this one is not made; where it has this very text, there is nothing to write.
    """

    path: str  # relative to the repository, with slashes
    text: str


@dataclass(frozen=True, slots=True)
class Fix:
    """Edits that belong together: all are made, or none. `files` are written if they are made."""

    edits: tuple[Edit, ...]
    safety: Safety = Safety.SAFE
    files: tuple[NewFile, ...] = ()


@dataclass(frozen=True, slots=True)
class Finding:
    """One tie to NVIDIA, where it is, what it means on Ascend and what to do about it.

    Lines and columns count from 1, columns in characters. `start` and `end` are offsets into the
    file's text. What is said of all uses of a name is said once: `also` are the other lines.
    """

    rule: str
    path: str
    kind: str  # of the file: python, notebook, shell ...
    line: int
    column: int
    end_line: int
    end_column: int
    start: int
    end: int
    code: str  # the source lines it is on
    says: str
    meaning: Meaning
    advice: str
    effort: Effort
    confidence: Confidence
    source: str
    fix: Fix | None = None
    also: tuple[int, ...] = ()


def agreeing(fixes: Iterable[Fix]) -> tuple[list[Fix], list[Fix]]:
    """Fixes that can be made together, and those that overlap an earlier one's edits.

    Two fixes may want the same edit, such as the same import.
    """
    taken: list[Edit] = []
    kept, dropped = [], []
    for fix in fixes:
        new = [edit for edit in fix.edits if edit not in taken]
        if any(_clash(edit, other) for edit in new for other in taken):
            dropped.append(fix)
        else:
            kept.append(fix)
            taken += new
    return kept, dropped


def _clash(one: Edit, other: Edit) -> bool:
    if one.start == one.end and other.start == other.end:
        return False  # two insertions: in the order of their fixes
    return one.start < other.end and other.start < one.end


def apply(text: str, fixes: Iterable[Fix]) -> str:
    """`text` with fixes made that agree with each other."""
    edits = list(dict.fromkeys(edit for fix in fixes for edit in fix.edits))
    pieces, done = [], 0
    for edit in sorted(edits, key=lambda edit: (edit.start, edit.end)):
        pieces += [text[done : edit.start], edit.text]
        done = edit.end
    return "".join([*pieces, text[done:]])
