"""The keys of a JSON value, such as that of --compilation-config, judged one by one."""

import json
from collections.abc import Mapping
from dataclasses import replace

from cordee.serve.deployment.chips import Target
from cordee.serve.deployment.flags import closed, keys, meant
from cordee.serve.deployment.judgement import Finding, Row, Verdict, row_for


def judged_keys(
    name: str, given: Mapping[str, object], at: Target, place: str
) -> tuple[list[Finding], dict[str, object]]:
    """Findings about keys that do not simply work, and what is kept of the value."""
    findings: list[Finding] = []
    kept: dict[str, object] = {}
    for key, value in given.items():
        dotted = f"{name}.{key}"
        nested = dotted in closed() or row_for(dotted, "", at.family.name) is None
        if isinstance(value, dict) and nested:
            inner, left = judged_keys(dotted, value, at, place)
            findings += inner
            if left or not value:
                kept[key] = left
            continue
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        finding, row = judged_key(dotted, text, at, place)
        if finding is not None:
            findings.append(finding)
        new, kept_value = _after(key, value, row)
        if new:
            kept[new] = kept_value
    return findings, kept


def judged_key(dotted: str, text: str, at: Target, place: str) -> tuple[Finding | None, Row | None]:
    """What is said of one key, and the row that says so."""
    subject = f"{dotted} {text if len(text) < 40 else ''}".strip()
    wrong = wrong_key(dotted, subject, at, place)
    former = row_for(dotted, text, at.family.name, "former.toml") if wrong else None
    if wrong is not None and former is None:
        return wrong, None
    row = former or row_for(dotted, text, at.family.name)
    if row is None or (row.verdict == Verdict.WORKS and not row.values):
        return None, row
    what, _, rest = row.change.partition(" ")
    becomes = {"drop": "left out", "value": rest, "key": rest}.get(what, "")
    return replace(row.finding(subject, place), becomes=becomes), row


def wrong_key(dotted: str, subject: str, at: Target, place: str) -> Finding | None:
    """What is said of a key that this version has not; None where it has, or that is not known."""
    if dotted.rpartition(".")[0] not in closed():
        return None
    key = keys().get(dotted)
    if key is None:
        near = meant(dotted)
        instead = f"did you mean {near}?" if near else ""
        says = "no version of vLLM that was looked at has this key"
        return Finding(Verdict.UNKNOWN, subject, says, instead, True, "", place)
    if key.there(at.release.vllm):
        return None
    if key.until:
        says = f"vLLM dropped this key after {key.until}"
    else:
        says = f"vLLM has this key from {key.since} on, and there it is {at.release.vllm}"
    return Finding(Verdict.ABSENT, subject, says, "leave it out", True, key.source, place)


def _after(key: str, value: object, row: Row | None) -> tuple[str, object]:
    """The key and the value that are written; no key where it is left out."""
    what, _, rest = (row.change if row else "").partition(" ")
    if what == "drop":
        return "", None
    if what == "key":
        return rest, value
    if what == "value":
        return key, int(rest) if rest.isdecimal() else rest
    return key, value
