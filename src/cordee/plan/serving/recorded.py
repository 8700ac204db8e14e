"""Requests that really came: when, and how long prompts and answers were, from a file of a gateway or a public trace."""

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from statistics import fmean
from typing import Any

from cordee.core.errors import UsageError
from cordee.core.facts import Fact, rows

TABLE = files("cordee.plan.serving") / "recorded.toml"
MOST = 4000
"""Requests of a copy that are simulated: the first of the file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Format(Fact):
    """What a kind of file calls things."""

    name: str
    time: str
    prompt: str
    answer: str
    unit_s: float = 1.0
    lasted: str = ""
    kind: str = ""

    @property
    def fields(self) -> set[str]:
        """That a line has."""
        return {self.time, self.prompt, self.answer, *filter(None, (self.lasted,))}


@dataclass(frozen=True, slots=True)
class Recorded:
    """One request."""

    arrival_s: float
    """Since the first."""
    prompt: int
    answer: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """All of a file, in the order in which they came."""

    requests: tuple[Recorded, ...]
    left_out: int
    """Lines without tokens: refused, broken off, or not counted."""
    kind: str

    @property
    def rate_per_s(self) -> float:
        return (len(self.requests) - 1) / self.requests[-1].arrival_s

    @property
    def prompt(self) -> int:
        """On average."""
        return max(1, round(fmean(one.prompt for one in self.requests)))

    @property
    def answer(self) -> int:
        """On average."""
        return max(1, round(fmean(one.answer for one in self.requests)))

    @property
    def longest(self) -> int:
        """Tokens of any request at its end."""
        return max(one.prompt + one.answer for one in self.requests)

    @property
    def words(self) -> str:
        """What it has, for a reader."""
        lines = f"; {self.left_out:,} lines have no tokens" if self.left_out else ""
        return (
            f"{len(self.requests):,} requests as {self.kind} records them, {self.rate_per_s:,.3g} a second: prompts of "
            f"{self.prompt:,} tokens and answers of {self.answer:,} on average, {self.longest:,} at most{lines}"
        )

    def part(self, share: float, rate_per_s: float) -> list[Recorded]:
        """What one of so many copies gets, with times stretched so that to all of them so many a second come."""
        stretch = self.rate_per_s / rate_per_s
        most = min(MOST, int((len(self.requests) - 1) / share) + 1)
        taken = (self.requests[int(number * share)] for number in range(most))
        return [Recorded(one.arrival_s * stretch, one.prompt, one.answer) for one in taken]


def recording(path: Path) -> Recording:
    """Read a file of JSON lines, or of CSV with a head. Raises `UsageError` where it has no requests."""
    lines = list(_lines(path))
    if not lines:
        raise UsageError(f"{path}: no line has a request")
    kind = _format(path, lines)
    wanted = [line for line in lines if not kind.kind or line.get("kind") == kind.kind]
    found = [
        one for number, line in enumerate(wanted, 1) if (one := _request(path, number, line, kind))
    ]
    found.sort(key=lambda one: one.arrival_s)
    if len(found) < 2 or found[-1].arrival_s <= found[0].arrival_s:
        raise UsageError(f"{path}: two requests at least, with tokens and at different times")
    first_s = found[0].arrival_s
    return Recording(
        requests=tuple(Recorded(o.arrival_s - first_s, o.prompt, o.answer) for o in found),
        left_out=len(wanted) - len(found),
        kind=kind.name,
    )


def _lines(path: Path) -> Iterator[Mapping[str, Any]]:
    try:
        text = path.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: {error}") from error
    if not text.lstrip().startswith("{"):
        yield from csv.DictReader(text.splitlines())
        return
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            found = json.loads(line)
        except json.JSONDecodeError as error:
            raise UsageError(f"{path}, line {number}: no JSON: {error.msg}") from error
        if not isinstance(found, dict):
            raise UsageError(f"{path}, line {number}: an object with the fields of a request")
        yield found


def _format(path: Path, lines: Sequence[Mapping[str, Any]]) -> Format:
    known = list(rows(TABLE, Format, table="format"))
    for line in lines:
        for one in known:
            if one.fields <= line.keys():
                return one
    ways = "; ".join(f"{one.time}, {one.prompt}, {one.answer} ({one.name})" for one in known)
    raise UsageError(f"{path}: its lines have {', '.join(lines[0])}; known are {ways}")


def _request(path: Path, number: int, line: Mapping[str, Any], kind: Format) -> Recorded | None:
    """None where it has no tokens."""
    try:
        prompt, answer = (int(float(line.get(name) or 0)) for name in (kind.prompt, kind.answer))
        at_s = _seconds(line[kind.time], kind.unit_s)
        if kind.lasted:
            at_s -= float(line[kind.lasted])
    except (KeyError, ValueError, TypeError) as error:
        raise UsageError(f"{path}, request {number}: {dict(line)}: {error}") from error
    return Recorded(at_s, prompt, answer) if prompt > 0 and answer > 0 else None


def _seconds(value: object, unit_s: float) -> float:
    try:
        return float(str(value)) * unit_s
    except ValueError:
        at = datetime.fromisoformat(str(value))
        return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()
