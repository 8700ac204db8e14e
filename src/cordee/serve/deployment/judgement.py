"""What one option is on Ascend: the rows of the tables that fit it, and what is written instead."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from fnmatch import fnmatchcase
from functools import cache

from cordee.core.errors import UsageError
from cordee.core.facts import Fact, rows
from cordee.serve.deployment.arguments import Option, parsed
from cordee.serve.deployment.flags import TABLES, Flag, Release, meant, named
from cordee.serve.deployment.words import Word

QUANTIZATION = ("--quantization", "--quantization-config.quant_method")


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Row(Fact):
    """One judgement: of flags, dotted keys of their JSON, or environment variables.

    `change` is what is written: drop; keep; value V; flag F (its value stays); as F V; and for
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


@dataclass(frozen=True, slots=True)
class Judged:
    """What is said of an option, and the words that stand for it in the new command."""

    findings: tuple[Finding, ...]
    words: tuple[Word, ...]


@cache
def table(name: str) -> tuple[Row, ...]:
    """The rows of one table of judgements."""
    return tuple(rows(TABLES / name, Row))


def row_for(name: str, value: str, family: str, tables: str = "judgements.toml") -> Row | None:
    """The row that says most about an option: one of this chip, then one of this value."""
    fitting = [row for row in table(tables) if row.fits(name, value, family)]
    exact = lambda row: name in row.flags  # noqa: E731
    return max(fitting, key=lambda r: (bool(r.families), exact(r), bool(r.values)), default=None)


def judged(option: Option, known: Mapping[str, str], family: str, release: Release) -> Judged:
    """Judge one option, and say what is written for it."""
    place = f"in {option.file}" if option.file else ""
    if option.flag is None:
        return Judged((_unknown(option, known, place),), _as_given(option))
    if option.missing:
        says = "a value is needed and none follows"
        return Judged((Finding(Verdict.UNKNOWN, option.given, says, "", True, "", place),), _as_given(option))
    if not option.flag.there(release.vllm):
        return _other_version(option, option.flag, known, family, release)
    return _there(option, option.flag, known, family, place)


def _there(option: Option, flag: Flag, known: Mapping[str, str], family: str, place: str) -> Judged:
    value = " ".join(word.value(known) for word in option.words)
    if option.name in QUANTIZATION:
        row = row_for(value.lower(), value, family, "quantization.toml")
    else:
        row = row_for(option.name, value, family)
    subject = _subject(option, value)
    if flag.kind == "json" and option.words and "." not in option.name:
        return _json(option, known, family, row, place)
    wrong = _wrong_value(option, flag, value, row)
    if wrong is not None:
        return Judged((wrong,), _as_given(option))
    if row is None:
        says = "what it does on Ascend is not known"
        found = Finding(Verdict.UNCHECKED, subject, says, "try it", True, flag.source, place)
        return Judged((found,), _as_given(option))
    return Judged((row.finding(subject, place),), changed(option, row))


def changed(option: Option, row: Row) -> tuple[Word, ...]:
    """The words that a row has written for an option."""
    what, _, rest = row.change.partition(" ")
    if what == "drop" or (what == "" and row.verdict == Verdict.ABSENT):
        return ()
    if what == "value":
        return (Word(option.name), Word(rest))
    if what == "flag":
        return (Word(rest), *option.words)
    if what == "as":
        return tuple(Word(part) for part in rest.split())
    return _as_given(option)


def _as_given(option: Option) -> tuple[Word, ...]:
    """As it was, by its long name; what was given as --flag=value or --flag true in today's form."""
    name = option.name
    if option.flag is not None and option.flag.kind in ("flag", "switch"):
        told = option.words[0].text.lower() if option.words else "true"
        off = option.off != (told == "false")
        if off and option.flag.kind == "switch":
            return ()
        return (Word(f"--no-{name.removeprefix('--')}" if off else name),)
    if option.off:
        return (Word(f"--no-{name.removeprefix('--')}"),)
    return (Word(name), *option.words)


def _subject(option: Option, value: str) -> str:
    name = f"--no-{option.name.removeprefix('--')}" if option.off else option.name
    short = value if len(value) <= 40 else value[:37] + "..."
    return f"{name} {short}".strip()


def _unknown(option: Option, known: Mapping[str, str], place: str) -> Finding:
    near = meant(option.name)
    says = "no version of vLLM that was looked at has this flag"
    instead = f"did you mean {near}?" if near else ""
    value = " ".join(word.value(known) for word in option.words)
    return Finding(Verdict.UNKNOWN, _subject(option, value), says, instead, True, "", place)


def _wrong_value(option: Option, flag: Flag, value: str, row: Row | None) -> Finding | None:
    literal = option.words and not any(word.expands for word in option.words)
    if not literal or not flag.choices or option.name in QUANTIZATION or (row and row.values):
        return None
    known = {choice.lower() for choice in flag.choices}
    if flag.kind in ("value", "optional") and value.lower() not in known and "." not in option.name:
        says = "vLLM takes " + ", ".join(flag.choices[:8]) + (" ..." if len(flag.choices) > 8 else "")
        return Finding(Verdict.UNKNOWN, _subject(option, value), says, "", True, flag.source)
    return None


def _other_version(
    option: Option, flag: Flag, known: Mapping[str, str], family: str, release: Release
) -> Judged:
    value = " ".join(word.value(known) for word in option.words)
    place = f"in {option.file}" if option.file else ""
    row = row_for(option.name, value, family, "former.toml")
    if row is not None:
        return _after(row, option, value, place)
    for other in flag.aliases:
        alias = named(other, release.vllm)
        if other.startswith("--") and alias is not None and alias.there(release.vllm):
            says = f"vLLM {release.vllm} calls it {alias.name}"
            finding = Finding(Verdict.OTHERWISE, _subject(option, value), says, "", False, alias.source)
            return Judged((finding,), (Word(alias.name), *option.words))
    if flag.until:
        says = f"vLLM dropped it after {flag.until}"
        instead = "leave it out, or see vLLM's notes for what stands for it"
    else:
        says = f"vLLM has it from {flag.since} on; vllm-ascend {release.ascend} stands on {release.vllm}"
        instead = "leave it out"
    return Judged(
        (Finding(Verdict.ABSENT, _subject(option, value), says, instead, True, flag.source, place),), ()
    )


def _after(row: Row, option: Option, value: str, place: str) -> Judged:
    """A flag that vLLM gave up, in today's words."""
    words = changed(option, row)
    says = row.why + (f": {words[0].text} stands for it" if words and row.verdict == "otherwise" else "")
    finding = row.finding(_subject(option, value), place)
    finding = Finding(
        finding.verdict, finding.subject, says, row.instead, finding.decide, row.source, place
    )
    return Judged((finding,), words)


def _json(
    option: Option, known: Mapping[str, str], family: str, row: Row | None, place: str
) -> Judged:
    """A JSON value: its keys are judged one by one."""
    text = option.words[0].value(known)
    given = parsed(text)
    if option.name == "--compilation-config" and isinstance(given, int):
        given = {"mode": given}
    own = _own(option, row, text, place)
    if not isinstance(given, dict):
        if "$" in text or _pairs(text):
            return Judged((own,), _as_given(option))
        says = "its value is no JSON that can be read"
        bad = Finding(Verdict.UNKNOWN, _subject(option, text), says, "", True, "", place)
        return Judged((bad,), _as_given(option))
    if row is not None and row.verdict == Verdict.ABSENT:
        return Judged((own,), ())
    findings, kept = _keys(option.name, given, family, place)
    words = _as_given(option)
    if kept != given or not text.lstrip().startswith("{"):
        words = (Word(option.name), Word(json.dumps(kept, ensure_ascii=False), quoted=True))
    return Judged((own, *findings), words if kept or not given else ())


def _own(option: Option, row: Row | None, text: str, place: str) -> Finding:
    if row is None:
        says = "what it does on Ascend is not known"
        return Finding(Verdict.UNCHECKED, _subject(option, text), says, "try it", True, "", place)
    return row.finding(_subject(option, text) if row.verdict != "works" else option.name, place)


def _pairs(text: str) -> bool:
    """Whether this is name=value,name=value, which vLLM took before JSON."""
    return all("=" in part for part in text.split(","))


def _keys(
    name: str, given: Mapping[str, object], family: str, place: str
) -> tuple[list[Finding], dict[str, object]]:
    """Findings about keys that do not simply work, and what is kept of the value."""
    findings: list[Finding] = []
    kept: dict[str, object] = {}
    for key, value in given.items():
        dotted = f"{name}.{key}"
        if isinstance(value, dict):
            inner, left = _keys(dotted, value, family, place)
            findings += inner
            if left or not value:
                kept[key] = left
            continue
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        row = row_for(dotted, text, family)
        if row is None or (row.verdict == Verdict.WORKS and not row.values):
            kept[key] = value
            continue
        findings.append(row.finding(f"{dotted} {text if len(text) < 40 else ''}".strip(), place))
        what, _, rest = row.change.partition(" ")
        if what == "value":
            kept[key] = int(rest) if rest.isdigit() else rest
        elif what != "drop":
            kept[key] = value
    return findings, kept


def all_patterns() -> Iterator[tuple[str, Sequence[str]]]:
    """The names in each table of flags, for its tests."""
    for name in ("judgements.toml", "former.toml"):
        for row in table(name):
            yield name, row.flags
