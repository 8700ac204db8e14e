"""Environment variables of a deployment: what each is on Ascend, and what is set there instead."""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from cordee.core.shell.words import Word
from cordee.serve.deployment.chips import Target
from cordee.serve.deployment.flags import Variable, variables
from cordee.serve.deployment.judgement import Finding, Row, Verdict, table
from cordee.serve.deployment.launch import Setting

MEGABYTE = 1024 * 1024


def judged(
    settings: Iterable[Setting], known: Mapping[str, str], at: Target
) -> tuple[list[Finding], list[Setting]]:
    """What is said of the variables, and those that are set on Ascend."""
    findings: list[Finding] = []
    kept: dict[str, Setting] = {}
    for setting in settings:
        found, after = _one(setting, known, at)
        findings.append(found)
        if after is not None:
            kept[after.name] = after
    return findings, list(kept.values())


def _one(setting: Setting, known: Mapping[str, str], at: Target) -> tuple[Finding, Setting | None]:
    place = f"line {setting.line}" if setting.line > 1 else ""
    value = setting.value.value(known)
    row = next(
        (r for r in table("environment.toml") if _fits(r, setting, value, at.family.name)), None
    )
    subject = f"{setting.name}={value}" if len(value) <= 40 else setting.name
    if row is None:
        finding = _without_row(setting, variables().get(setting.name), subject, place, at)
        return finding, None if finding.becomes else setting
    after = _after(setting, row, value)
    becomes = "" if after == setting else "left out"
    if after is not None and after != setting:
        becomes = f"{after.name}={after.value.text}"
    return replace(row.finding(subject, place), becomes=becomes), after


def _fits(row: Row, setting: Setting, value: str, family: str) -> bool:
    if row.values and setting.value.expands and "$" in value:
        return False  # what a variable holds is not known
    return row.fits(setting.name, value, family)


def _without_row(
    setting: Setting, variable: Variable | None, subject: str, place: str, at: Target
) -> Finding:
    if variable is not None and not variable.there(at.release.vllm):
        ends = f"to {variable.until}" if variable.until else f"from {variable.since}"
        says = f"vLLM reads it {ends}; there it is {at.release.vllm}"
        source = variable.source
        return Finding(Verdict.MEANINGLESS, subject, says, "", False, source, place, "left out")
    if variable is not None:
        says = "what it does on Ascend is not known"
        return Finding(Verdict.UNCHECKED, subject, says, "try it", True, variable.source, place)
    if setting.name.startswith("VLLM_"):
        says = "no version of vLLM that was looked at reads it"
        return Finding(Verdict.UNKNOWN, subject, says, "", True, "", place)
    says = "not of vLLM, CUDA or NCCL: kept as it is"
    return Finding(Verdict.WORKS, subject, says, place=place)


def _after(setting: Setting, row: Row, value: str) -> Setting | None:
    what, _, rest = row.change.partition(" ")
    if what == "drop":
        return None
    if what == "value":
        return Setting(setting.name, Word(rest), setting.line)
    if what == "name":
        name, _, unit = rest.partition(" ")
        if unit == "megabytes" and value.isdecimal():
            return Setting(name, Word(str(max(1, int(value) // MEGABYTE))), setting.line)
        return Setting(name, setting.value, setting.line)
    return setting
