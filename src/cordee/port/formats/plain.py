"""The report as JSON; docs/assess.md says what each key means. Keys are added, never renamed."""

import json
from typing import IO, Any

from cordee.port.assessment import Assessment
from cordee.port.baseline import fingerprint
from cordee.port.finding import Finding, Fix
from cordee.port.summary import Count, summary

VERSION = 1


def write(assessment: Assessment, file: IO[bytes]) -> None:
    """The report."""
    file.write((json.dumps(plain(assessment), indent=1) + "\n").encode())


def plain(assessment: Assessment) -> dict[str, Any]:
    """The report as dicts and lists."""
    counts = summary(assessment)
    return {
        "version": VERSION,
        "root": assessment.root,
        "revision": assessment.revision,
        "style": assessment.style,
        "torch": assessment.torch,
        "summary": {
            "files": counts.files,
            "lines": counts.lines,
            "others": counts.others,
            "suppressed": counts.suppressed,
            "total": _count(counts.total),
            "kinds": {kind: _count(count) for kind, count in counts.kinds.items()},
            "meanings": {each.value: _count(count) for each, count in counts.meanings.items()},
        },
        "problems": [
            {"path": f.path, "kind": f.kind, "problem": f.problem} for f in assessment.problems
        ],
        "findings": [_finding(finding) for finding in assessment.findings],
    }


def _count(count: Count) -> dict[str, Any]:
    return {
        "findings": count.findings,
        "fixed": count.fixed,
        "left": {effort.value: n for effort, n in sorted(count.efforts.items())},
        "rules": dict(sorted(count.rules.items())),
    }


def _finding(finding: Finding) -> dict[str, Any]:
    return {
        "rule": finding.rule,
        "path": finding.path,
        "kind": finding.kind,
        "line": finding.line,
        "column": finding.column,
        "end_line": finding.end_line,
        "end_column": finding.end_column,
        "start": finding.start,
        "end": finding.end,
        "code": finding.code,
        "says": finding.says,
        "meaning": finding.meaning.value,
        "advice": finding.advice,
        "effort": finding.effort.value,
        "confidence": finding.confidence.value,
        "source": finding.source,
        "fingerprint": fingerprint(finding),
        "fix": _fix(finding.fix),
    }


def _fix(fix: Fix | None) -> dict[str, Any] | None:
    if fix is None:
        return None
    return {
        "safety": fix.safety.value,
        "edits": [{"start": e.start, "end": e.end, "text": e.text} for e in fix.edits],
        "files": [{"path": file.path, "text": file.text} for file in fix.files],
    }
