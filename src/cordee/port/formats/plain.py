"""The report as JSON; docs/assess.md says what each key means. Keys are added, never renamed."""

import json
from typing import IO, Any

from cordee.port.assessment import Assessment
from cordee.port.baseline import fingerprint
from cordee.port.finding import Finding, Fix
from cordee.port.summary import Count, Summary, summary

VERSION = 1


def write(assessment: Assessment, file: IO[bytes]) -> None:
    """The report."""
    file.write((json.dumps(plain(assessment), indent=1) + "\n").encode())


def plain(assessment: Assessment) -> dict[str, Any]:
    """The report as dicts and lists."""
    counts = summary(assessment)
    meanings = {m.value: count(each) for m, each in counts.meanings.items()}
    return {
        "version": VERSION,
        **asked(assessment),
        "summary": {**totals(counts), "meanings": meanings},
        "problems": problems(assessment),
        "findings": [finding(each) for each in assessment.findings],
    }


def asked(assessment: Assessment) -> dict[str, Any]:
    """What was looked at, and for which torch."""
    return {
        "root": assessment.root,
        "revision": assessment.revision,
        "style": assessment.style,
        "torch": assessment.torch,
    }


def totals(counts: Summary) -> dict[str, Any]:
    """Files, and ties of all kinds."""
    return {
        "files": counts.files,
        "lines": counts.lines,
        "others": counts.others,
        "suppressed": counts.suppressed,
        "total": count(counts.total),
        "kinds": {kind: count(each) for kind, each in counts.kinds.items()},
    }


def problems(assessment: Assessment) -> list[dict[str, Any]]:
    """Files that could not be read."""
    return [{"path": f.path, "kind": f.kind, "problem": f.problem} for f in assessment.problems]


def count(ties: Count) -> dict[str, Any]:
    """How many ties, and what becomes of them."""
    return {
        "findings": ties.findings,
        "fixed": ties.fixed,
        "runs": ties.runs,
        "look": ties.look,
        "left": {effort.value: n for effort, n in sorted(ties.efforts.items())},
        "hours": [round(ties.work.low_h, 2), round(ties.work.high_h, 2)],
        "rules": dict(sorted(ties.rules.items())),
    }


def finding(found: Finding) -> dict[str, Any]:
    """One finding."""
    return {
        "rule": found.rule,
        "path": found.path,
        "kind": found.kind,
        "line": found.line,
        "column": found.column,
        "end_line": found.end_line,
        "end_column": found.end_column,
        "also": list(found.also),
        "start": found.start,
        "end": found.end,
        "code": found.code,
        "says": found.says,
        "meaning": found.meaning.value,
        "advice": found.advice,
        "effort": found.effort.value,
        "confidence": found.confidence.value,
        "source": found.source,
        "fingerprint": fingerprint(found),
        "fix": _fix(found.fix),
    }


def _fix(fix: Fix | None) -> dict[str, Any] | None:
    if fix is None:
        return None
    return {
        "safety": fix.safety.value,
        "edits": [{"start": e.start, "end": e.end, "text": e.text} for e in fix.edits],
        "files": [{"path": file.path, "text": file.text} for file in fix.files],
    }
