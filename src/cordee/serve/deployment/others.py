"""Commands of SGLang and TensorRT-LLM, in vLLM's words as far as those are known."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache

from cordee.core.facts import Fact, rows
from cordee.core.shell.words import Word
from cordee.serve.deployment.flags import TABLES
from cordee.serve.deployment.judgement import Finding, Verdict
from cordee.serve.deployment.launch import Launch

TITLES = {"sglang": "SGLang", "tensorrt-llm": "TensorRT-LLM"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Counterpart(Fact):
    """A flag of another engine and vLLM's."""

    engine: str
    flags: list[str]
    to: str = ""
    """vLLM's flag; MODEL for the model; empty where nothing is to be written."""
    takes: int
    """How many values follow: 0, 1, or -1 for all up to the next flag."""
    why: str = ""
    """What differs, and must be looked at."""


@cache
def counterparts(engine: str) -> dict[str, Counterpart]:
    """The flags of one engine that have a counterpart."""
    found = (row for row in rows(TABLES / "others.toml", Counterpart) if row.engine == engine)
    return {flag: row for row in found for flag in row.flags}


def as_vllm(launch: Launch) -> tuple[Launch, list[Finding]]:
    """The launch with vLLM's flags, and what is said of those that have none."""
    if launch.engine == "vllm":
        return launch, []
    known = counterparts(launch.engine)
    title = TITLES[launch.engine]
    findings: list[Finding] = []
    model: list[Word] = []
    out: list[Word] = []
    words, at = launch.arguments, 0
    while at < len(words):
        text = words[at].value(launch.known)
        if not text.startswith("-"):
            model, at = model or [words[at]], at + 1
            continue
        name, equals, value = text.partition("=")
        row = known.get(name)
        values, at = _values(words, at + 1, row, Word(value) if equals else None, launch)
        said = " ".join(word.value(launch.known) for word in values)
        subject = f"{title}'s {name} {said}".strip()
        if row is None:
            says = "no flag of vLLM is known that corresponds"
            findings.append(Finding(Verdict.UNKNOWN, subject, says, "decide what it was for", True))
        elif row.to == "MODEL":
            model = values
        else:
            findings.append(_finding(subject, row))
            out += _written(row, values)
    return replace(launch, arguments=(*model, *out)), findings


def _values(
    words: Sequence[Word], at: int, row: Counterpart | None, inline: Word | None, launch: Launch
) -> tuple[list[Word], int]:
    if inline is not None:
        return [inline], at
    most = 1 if row is None else (len(words) if row.takes < 0 else row.takes)
    values: list[Word] = []
    while at < len(words) and len(values) < most:
        text = words[at].value(launch.known)
        if text.startswith("-") and not text[1:2].isdecimal():
            break
        values.append(words[at])
        at += 1
    return values, at


def _finding(subject: str, row: Counterpart) -> Finding:
    if not row.to:
        return Finding(Verdict.MEANINGLESS, subject, row.why, source=row.source)
    says = f"{row.to} is vLLM's" + (f"; {row.why}" if row.why else "")
    look = "look at its value" if row.why and row.takes else ""
    return Finding(Verdict.OTHERWISE, subject, says, look, bool(look), row.source)


def _written(row: Counterpart, values: list[Word]) -> list[Word]:
    if not row.to:
        return []
    if row.to == "--enable-expert-parallel":
        return [Word(row.to)] if values and values[0].text not in ("1", "0") else []
    if row.to == "--speculative-config.method" and values:
        values = [Word(values[0].text.lower().replace("nextn", "mtp"))]
    return [*(Word(part) for part in row.to.split()), *values]
