"""What a rule looks for and why, with the cases that prove it."""

import re
from collections.abc import Iterator
from pathlib import Path

from cordee.core.errors import UsageError
from cordee.port.engine import RULES
from cordee.port.rule import Rule
from cordee.port.summary import TIME
from cordee.port.unreadable import RULE

SECTION = re.compile(r"^## (?=.)", re.MULTILINE)
# Of a case's blocks some say what a port makes of the one before, what they show, or where they stand.
MADE = re.compile(r"^```(\w+) (\w+)?(?: ?file=(\S+))?$", re.MULTILINE)
CAPTIONS = {
    "portable": "Ported, to run on every chip:",
    "native": "Ported, for Ascend only (`--style native`):",
    "unsafe": "Ported with `--unsafe`, for you to look at:",
}
# Beside this file in an installed package; in a checkout the cases are among the tests.
FOLDERS = (Path(__file__).parent / "cases", Path(__file__).parents[3] / "tests" / "port" / "cases")


def rules() -> list[Rule]:
    """Every rule, by code."""
    return sorted([RULE, *RULES.values()], key=lambda rule: rule.code)


def rule(code: str) -> Rule:
    """The rule of a code. Raises `UsageError`."""
    found = {rule.code: rule for rule in rules()}.get(code.upper())
    if found is None:
        raise UsageError(f"{code}: no such rule; `cordee explain` lists them")
    return found


def pages() -> dict[str, list[Rule]]:
    """The rules of each page: NV1 holds those from NV100 on."""
    found: dict[str, list[Rule]] = {}
    for each in rules():
        found.setdefault(each.code[:3], []).append(each)
    return found


def explanation(each: Rule) -> str:
    """All there is to say about a rule alone, as Markdown."""
    return "\n\n".join([f"## {each.code} · {each.title}", *_facts(each), *_cases(each.code)])


def introduction(page: str) -> str:
    """What is said about all rules of a page before the first; empty where there is nothing."""
    return SECTION.split(_page(page), maxsplit=1)[0].strip()


def shared(page: str) -> list[str]:
    """The sections about several rules of a page, as Markdown."""
    sections = SECTION.split(_page(page))[1:]
    return [f"## {MADE.sub(_captioned, text.strip())}" for text in sections if not _code(text)]


def _facts(each: Rule) -> Iterator[str]:
    rows = [
        f"- On Ascend: {each.meaning}",
        f"- Left to do where it is not rewritten: {TIME[each.effort]}",
    ]
    if each.advice:
        rows.append(f"- Advice: {each.advice}")
    if each.source:
        rows.append(f"- Source: {each.source}")
    yield "\n".join(rows)


def _cases(code: str) -> Iterator[str]:
    for text in SECTION.split(_page(code[:3]))[1:]:
        if _code(text) == code:
            yield MADE.sub(_captioned, text.partition("\n")[2].strip())


def _code(section: str) -> str:
    found = re.match(r"NV\d{3}\b", section)
    return found[0] if found else ""


def _captioned(block: re.Match[str]) -> str:
    captions = [CAPTIONS.get(block[2], ""), f"In a file `{block[3]}`:" if block[3] else ""]
    return "\n\n".join([*filter(None, captions), f"```{block[1]}"])


def _page(name: str) -> str:
    for folder in FOLDERS:
        if (folder / f"{name}.md").is_file():
            return (folder / f"{name}.md").read_text("utf-8")
    return ""
