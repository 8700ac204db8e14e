"""Findings as plain data that JSON holds, and back."""

from dataclasses import fields
from typing import Any

from cordee.port.assessment import Judged
from cordee.port.finding import Confidence, Edit, Effort, Finding, Fix, Meaning, NewFile, Safety

ENUMS = {"meaning": Meaning, "effort": Effort, "confidence": Confidence}
WORDS = tuple(f.name for f in fields(Finding) if f.name not in ("path", "fix", *ENUMS))


def packed(judged: Judged) -> list[Any]:
    """A file without its path."""
    findings = [_finding(finding) for finding in judged.findings]
    return [judged.kind, judged.lines, judged.suppressed, judged.problem, findings]


def unpacked(path: str, data: list[Any]) -> Judged:
    """What `packed` made, as the file at `path`."""
    kind, lines, suppressed, problem, findings = data
    found = tuple(_unpacked_finding(path, *finding) for finding in findings)
    return Judged(path, kind, lines, found, problem, suppressed)


def _finding(finding: Finding) -> list[Any]:
    words = [getattr(finding, name) for name in WORDS]
    return [words, [getattr(finding, name).value for name in ENUMS], _fix(finding.fix)]


def _fix(fix: Fix | None) -> list[Any] | None:
    if fix is None:
        return None
    edits = [[edit.start, edit.end, edit.text] for edit in fix.edits]
    return [fix.safety.value, edits, [[file.path, file.text] for file in fix.files]]


def _unpacked_finding(
    path: str, words: list[Any], enums: list[str], fix: list[Any] | None
) -> Finding:
    values = dict(zip(WORDS, words, strict=True))
    values["also"] = tuple(values["also"])
    values |= {name: ENUMS[name](value) for name, value in zip(ENUMS, enums, strict=True)}
    return Finding(path=path, fix=_unpacked_fix(fix), **values)


def _unpacked_fix(fix: list[Any] | None) -> Fix | None:
    if fix is None:
        return None
    safety, edits, files = fix
    return Fix(
        tuple(Edit(*edit) for edit in edits),
        Safety(safety),
        tuple(NewFile(*file) for file in files),
    )
