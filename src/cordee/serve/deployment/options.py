"""What one option is on Ascend, and what is written for it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace

from cordee.core.shell.words import Word
from cordee.serve.deployment.arguments import Option, parsed
from cordee.serve.deployment.chips import Target
from cordee.serve.deployment.flags import Flag, meant, named
from cordee.serve.deployment.judgement import Finding, Row, Verdict, row_for
from cordee.serve.deployment.keys import judged_key, judged_keys

QUANTIZATION = ("--quantization", "--quantization-config.quant_method")


@dataclass(frozen=True, slots=True)
class Judged:
    """What is said of an option, and the words that stand for it in the new command."""

    findings: tuple[Finding, ...]
    words: tuple[Word, ...]


def judged(option: Option, known: Mapping[str, str], at: Target) -> Judged:
    """Judge one option, and say what is written for it."""
    found = _judged(option, known, at)
    own, *others = found.findings
    return Judged((replace(own, becomes=_becomes(option, found.words)), *others), found.words)


def _becomes(option: Option, words: tuple[Word, ...]) -> str:
    if not words:
        return "left out"
    if words == (Word(option.name), *option.words) or words == _as_given(option):
        return ""
    return " ".join(word.text for word in words)


def _judged(option: Option, known: Mapping[str, str], at: Target) -> Judged:
    place = f"in {option.file}" if option.file else ""
    if option.flag is None:
        return Judged((_unknown(option, known, place),), _as_given(option))
    if option.missing:
        says = "a value is needed and none follows"
        return Judged(
            (Finding(Verdict.UNKNOWN, option.given, says, "", True, "", place),), _as_given(option)
        )
    if not option.flag.there(at.release.vllm):
        return _other_version(option, option.flag, known, at)
    return _there(option, option.flag, known, at, place)


def _there(option: Option, flag: Flag, known: Mapping[str, str], at: Target, place: str) -> Judged:
    value = " ".join(word.value(known) for word in option.words)
    if option.name in QUANTIZATION:
        row = row_for(value.lower(), value, at.family.name, "quantization.toml")
    else:
        row = row_for(option.name, value, at.family.name)
    subject = _subject(option, value)
    if "." in option.name:
        return _dotted(option, value, row, at, place)
    if flag.kind == "json" and option.words and "." not in option.name:
        return _json(option, known, at, row, place)
    wrong = _wrong_value(option, flag, value, row)
    if wrong is not None:
        return Judged((wrong,), _as_given(option))
    if row is None:
        says = "what it does on Ascend is not known"
        found = Finding(Verdict.UNCHECKED, subject, says, "try it", True, flag.source, place)
        return Judged((found,), _as_given(option))
    return Judged((row.finding(subject, place),), changed(option, row))


def _dotted(option: Option, value: str, row: Row | None, at: Target, place: str) -> Judged:
    """--flag.key value: one key of a JSON value."""
    finding, here = judged_key(option.name, value, at, place)
    if finding is not None and here is None:
        words = () if finding.verdict is Verdict.ABSENT else _as_given(option)
        return Judged((finding,), words)
    parent = row_for(option.name.partition(".")[0], value, at.family.name)
    row = here or row or (parent if parent and parent.verdict == Verdict.WORKS else None)
    subject = _subject(option, value)
    if row is None:
        says = "what it does on Ascend is not known"
        return Judged(
            (Finding(Verdict.UNCHECKED, subject, says, "try it", True),), _as_given(option)
        )
    return Judged((row.finding(subject, place),), changed(option, row))


def changed(option: Option, row: Row) -> tuple[Word, ...]:
    """The words that a row has written for an option."""
    what, _, rest = row.change.partition(" ")
    if what == "drop" or (what == "" and row.verdict == Verdict.ABSENT):
        return ()
    if what == "value":
        return (Word(option.name), Word(rest))
    if what == "key":
        return (Word(f"{option.name.rpartition('.')[0]}.{rest}"), *option.words)
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
    known = {choice.lower().replace("-", "_") for choice in flag.choices}
    plain = value.lower().replace("-", "_")
    if flag.kind in ("value", "optional") and plain not in known and "." not in option.name:
        says = (
            "vLLM takes " + ", ".join(flag.choices[:8]) + (" ..." if len(flag.choices) > 8 else "")
        )
        return Finding(Verdict.UNKNOWN, _subject(option, value), says, "", True, flag.source)
    return None


def _other_version(option: Option, flag: Flag, known: Mapping[str, str], at: Target) -> Judged:
    value = " ".join(word.value(known) for word in option.words)
    place = f"in {option.file}" if option.file else ""
    row = row_for(option.name, value, at.family.name, "former.toml")
    if row is not None:
        return _after(row, option, value, place)
    for other in flag.aliases:
        alias = named(other, at.release.vllm)
        if other.startswith("--") and alias is not None and alias.there(at.release.vllm):
            says = f"vLLM {at.release.vllm} calls it {alias.name}"
            finding = Finding(
                Verdict.OTHERWISE, _subject(option, value), says, "", False, alias.source
            )
            return Judged((finding,), (Word(alias.name), *option.words))
    if flag.until:
        says = f"vLLM dropped it after {flag.until}"
        instead = "leave it out, or see vLLM's notes for what stands for it"
    else:
        says = f"vLLM has it from {flag.since} on; vllm-ascend {at.release.ascend} stands on {at.release.vllm}"
        instead = "leave it out"
    return Judged(
        (
            Finding(
                Verdict.ABSENT, _subject(option, value), says, instead, True, flag.source, place
            ),
        ),
        (),
    )


def _after(row: Row, option: Option, value: str, place: str) -> Judged:
    """A flag that vLLM gave up, in today's words."""
    words = changed(option, row)
    return Judged((row.finding(_subject(option, value), place),), words)


def _json(
    option: Option, known: Mapping[str, str], at: Target, row: Row | None, place: str
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
    findings, kept = judged_keys(option.name, given, at, place)
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
