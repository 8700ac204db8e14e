"""Judgements: what becomes of something on Ascend, in tables, and what is said of it."""

from dataclasses import dataclass, field
from enum import StrEnum
from fnmatch import fnmatchcase
from functools import cache

from cordee.core.errors import UsageError
from cordee.core.facts import Fact, rows
from cordee.serve.deployment.flags import TABLES


class Verdict(StrEnum):
    """What becomes of something on Ascend."""

    WORKS = "works"
    OTHERWISE = "otherwise"
    ABSENT = "absent"
    UNKNOWN = "unknown"
    MEANINGLESS = "meaningless"
    UNCHECKED = "unchecked"


@dataclass(frozen=True, slots=True)
class Finding:
    """What is said about one flag, variable, format, image, model or combination."""

    verdict: Verdict
    subject: str
    says: str
    instead: str = ""
    """What the reader is to do or to take."""
    decide: bool = False
    """Whether the reader must decide: nothing right could be written without."""
    source: str = ""
    place: str = ""
    becomes: str = ""
    """What is written for it, where that differs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row(Fact):
    """One judgement: of flags, dotted keys of their JSON, or environment variables.

    `change` is what is written: drop; keep; value V; flag F or key K (the value stays); as F V; for
    variables name N, or name N megabytes where bytes were counted.
    """

    flags: list[str] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    values: list[str] = field(default_factory=list)
    families: list[str] = field(default_factory=list)
    verdict: str
    why: str
    instead: str = ""
    change: str = ""
    checked: str

    def __post_init__(self) -> None:
        if self.verdict not in set(Verdict):
            raise UsageError(f"verdict {self.verdict}: is none of {', '.join(Verdict)}")

    def fits(self, name: str, value: str, family: str) -> bool:
        """Whether this row is about such an option on such a chip."""
        return (
            any(fnmatchcase(name, pattern) for pattern in (*self.flags, *self.names))
            and (not self.values or any(fnmatchcase(value.lower(), v.lower()) for v in self.values))
            and (not self.families or family in self.families)
        )

    def finding(self, subject: str, place: str = "") -> Finding:
        """This row said of something."""
        verdict = Verdict(self.verdict)
        open_ = verdict in (Verdict.ABSENT, Verdict.UNCHECKED) or (
            verdict is Verdict.OTHERWISE and (bool(self.instead) or not self.change)
        )
        return Finding(verdict, subject, self.why, self.instead, open_, self.source, place)


@cache
def table(name: str) -> tuple[Row, ...]:
    """The rows of one table of judgements."""
    return tuple(rows(TABLES / name, Row))


def row_for(name: str, value: str, family: str, tables: str = "judgements.toml") -> Row | None:
    """The row that says most about an option: one of this chip, then one of this value."""
    fitting = [row for row in table(tables) if row.fits(name, value, family)]
    return max(
        fitting, key=lambda r: (bool(r.families), name in r.flags, bool(r.values)), default=None
    )
