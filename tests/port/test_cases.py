"""The case pages hold: what is found, what it becomes, and that a second time changes nothing."""

import ast
from pathlib import Path

import pytest
from cases import Case, read

from cordee.port.documents import document
from cordee.port.engine import RULES, findings
from cordee.port.finding import Finding, Safety, agreeing
from cordee.port.setting import Setting, Style

PAGES = sorted(Path(__file__).parent.glob("cases/*.md"))
CASES = [case for page in PAGES for case in read(page)]
STYLES = ("portable", "native", "unsafe")


def _found(case: Case, source: str, style: str) -> list[Finding]:
    setting = Setting(style=Style.PORTABLE if style == "unsafe" else Style(style))
    opened = document(case.name, source.encode(), setting)
    assert opened is not None
    return findings(opened)


def _ported(case: Case, source: str, style: str) -> str:
    allowed = [Safety.SAFE, Safety.UNSAFE] if style == "unsafe" else [Safety.SAFE]
    fixes = [f.fix for f in _found(case, source, style) if f.fix and f.fix.safety in allowed]
    opened = document(case.name, source.encode(), Setting())
    assert opened is not None
    return opened.source.fixed(agreeing(fixes)[0]).decode()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_what_is_found(case: Case) -> None:
    found = [(finding.line, finding.rule) for finding in _found(case, case.source, "portable")]
    assert sorted(found) == sorted(case.expected)


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_what_it_becomes(case: Case, style: str) -> None:
    ported = _ported(case, case.source, style)
    assert ported == case.result(style)
    if case.name.endswith(".py"):
        ast.parse(ported)


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_a_second_time_nothing_changes(case: Case, style: str) -> None:
    once = _ported(case, case.source, style)
    assert _ported(case, once, style) == once


@pytest.mark.parametrize("rule", RULES.values(), ids=lambda rule: rule.code)
def test_every_rule_has_a_case_in_which_it_fires(rule) -> None:
    assert any(code == rule.code for case in CASES for _, code in case.expected)
