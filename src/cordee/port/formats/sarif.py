"""The report as SARIF 2.1.0, which code-scanning pages read (docs.oasis-open.org/sarif/sarif/v2.1.0)."""

import json
import os
from typing import IO, Any
from urllib.parse import quote

from cordee import __version__
from cordee.port.assessment import Assessment, Judged
from cordee.port.baseline import fingerprint
from cordee.port.engine import RULES
from cordee.port.finding import Confidence, Edit, Finding, Fix, Meaning
from cordee.port.rule import Rule
from cordee.port.unreadable import RULE

SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
EVERY = [RULE, *RULES.values()]
INDEX = {rule.code: number for number, rule in enumerate(EVERY)}


def write(assessment: Assessment, file: IO[bytes]) -> None:
    """The report."""
    file.write((json.dumps(_log(assessment), indent=1) + "\n").encode())


def _log(assessment: Assessment) -> dict[str, Any]:
    driver = {"name": "cordee", "semanticVersion": __version__, "rules": [_rule(r) for r in EVERY]}
    run: dict[str, Any] = {
        "tool": {"driver": driver},
        "columnKind": "unicodeCodePoints",
        "invocations": [
            {
                "executionSuccessful": True,
                "toolExecutionNotifications": [_problem(file) for file in assessment.problems],
            }
        ],
        "results": [_result(finding) for finding in assessment.findings],
        "properties": {"style": assessment.style, "torch": assessment.torch},
    }
    return {"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}


def _rule(rule: Rule) -> dict[str, Any]:
    advice = rule.advice or "The finding says what to do."
    found: dict[str, Any] = {
        "id": rule.code,
        "shortDescription": {"text": f"{rule.title[:1].upper()}{rule.title[1:]}."},
        "help": {"text": f"On Ascend: {rule.meaning}. {advice[:1].upper()}{advice[1:]}"},
        "defaultConfiguration": {"level": _level(rule.meaning)},
        "properties": {"effort": rule.effort.value, "family": rule.family},
    }
    if rule.source.startswith(("https://", "http://")):
        found["helpUri"] = rule.source
    return found


def _level(meaning: Meaning, confidence: Confidence = Confidence.CERTAIN) -> str:
    if meaning is Meaning.RUNS or confidence is Confidence.UNSURE:
        return "note"
    return "error" if meaning is Meaning.MISSING else "warning"


def _result(finding: Finding) -> dict[str, Any]:
    place = {
        "artifactLocation": _artifact(finding.path),
        "region": {
            "startLine": finding.line,
            "startColumn": finding.column,
            "endLine": finding.end_line,
            "endColumn": finding.end_column,
        },
    }
    advice = f" To do: {finding.advice}." if finding.advice else ""
    result: dict[str, Any] = {
        "ruleId": finding.rule,
        "ruleIndex": INDEX[finding.rule],
        "level": _level(finding.meaning, finding.confidence),
        "message": {"text": f"{finding.says} ({finding.meaning}).{advice}"},
        "locations": [{"physicalLocation": place}],
        "partialFingerprints": {"cordee/v1": fingerprint(finding)},
        "properties": {
            "meaning": finding.meaning.value,
            "effort": finding.effort.value,
            "confidence": finding.confidence.value,
            "source": finding.source,
        },
    }
    if finding.also:
        result["relatedLocations"] = [_also(finding, line) for line in finding.also]
    if finding.fix is not None and finding.fix.edits and not finding.fix.files:
        result["fixes"] = [_fix(finding, finding.fix)]
    return result


def _also(finding: Finding, line: int) -> dict[str, Any]:
    place = {"artifactLocation": _artifact(finding.path), "region": {"startLine": line}}
    return {"physicalLocation": place}


def _fix(finding: Finding, fix: Fix) -> dict[str, Any]:
    change = {
        "artifactLocation": _artifact(finding.path),
        "replacements": [_replacement(edit) for edit in fix.edits],
    }
    return {"description": {"text": f"{fix.safety} fix"}, "artifactChanges": [change]}


def _replacement(edit: Edit) -> dict[str, Any]:
    return {
        "deletedRegion": {"charOffset": edit.start, "charLength": edit.end - edit.start},
        "insertedContent": {"text": edit.text},
    }


def _problem(file: Judged) -> dict[str, Any]:
    return {
        "level": "error",
        "message": {"text": file.problem},
        "locations": [{"physicalLocation": {"artifactLocation": _artifact(file.path)}}],
    }


def _artifact(path: str) -> dict[str, str]:
    return {"uri": quote(os.fsencode(path)), "uriBaseId": "%SRCROOT%"}
