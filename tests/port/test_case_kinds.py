"""Every rule about Python has the cases in which rules go wrong: aliases, lines, shadows, run time."""

import ast
import re
import tokenize
from collections.abc import Callable, Iterator
from functools import cache
from io import StringIO
from pathlib import Path

import pytest
from cases import Case, read

from cordee.port.documents import document
from cordee.port.engine import RULES, findings
from cordee.port.setting import Setting

PAGES = sorted(Path(__file__).parent.glob("cases/*.md"))
CASES = [case for page in PAGES for case in read(page) if case.name.endswith(".py")]
PYTHON = [
    rule.code for rule in RULES.values() if all(node.__module__ == "ast" for node in rule.nodes)
]

# What these find is a text, an argument or what a value is asked: no import gives it another name.
OF_VALUES = frozenset({
    "NV113", "NV114", "NV117", "NV119", "NV120", "NV202", "NV204", "NV205", "NV206", "NV207", "NV327",
    "NV344", "NV345", "NV346", "NV403", "NV407", "NV408", "NV423", "NV424", "NV453", "NV454", "NV455",
    "NV456", "NV504", "NV512", "NV513", "NV514", "NV516", "NV610", "NV611", "NV907",
})  # fmt: skip
# These go by a text or by how a name is written, whoever's it is: nothing of the program's own hides it.
BY_LOOKS = OF_VALUES - {"NV117", "NV204"} | {"NV201", "NV343", "NV401", "NV402", "NV406", "NV609"}
IMPORTED_OWN = re.compile(r"^from (?:mylib|\.)", re.MULTILINE)
SHADOWED = [case for case in CASES if case.kind == "shadowed" and IMPORTED_OWN.search(case.source)]


@pytest.mark.parametrize("code", PYTHON)
def test_a_rule_is_shown_over_lines_with_comments_inside(code: str) -> None:
    assert code in _shown(_over_lines)


@pytest.mark.parametrize("code", sorted(set(PYTHON) - OF_VALUES))
def test_a_rule_is_shown_with_names_that_an_import_gave(code: str) -> None:
    assert code in _shown(_by_other_names)


@pytest.mark.parametrize("code", PYTHON)
def test_a_rule_is_shown_silent_about_what_is_known_only_at_run_time(code: str) -> None:
    assert code in _silent("runtime")


@pytest.mark.parametrize("code", sorted(set(PYTHON) - BY_LOOKS))
def test_a_rule_is_shown_silent_about_names_of_the_programs_own(code: str) -> None:
    assert code in _silent("shadowed")


@pytest.mark.parametrize("case", SHADOWED, ids=lambda case: case.id)
def test_without_the_shadow_the_rules_would_speak(case: Case) -> None:
    opened = document(case.name, _without_shadow(case.source).encode(), Setting())
    assert opened is not None
    found = {(finding.line, finding.rule) for finding in findings(opened)}
    assert set(case.silent) <= found


@cache
def _shown(of: Callable[[Case], Iterator[str]]) -> set[str]:
    """The rules that some case shows in a way."""
    return {code for case in CASES for code in of(case)}


@cache
def _silent(kind: str) -> set[str]:
    """The rules that blocks of a kind show silent."""
    return {code for case in CASES if case.kind == kind for _, code in case.silent}


def _without_shadow(source: str) -> str:
    """The same program, with the libraries in the place of its own modules."""
    source = re.sub(r"^from mylib import ", "import ", source, flags=re.MULTILINE)
    source = re.sub(r"^from mylib\.", "from torch.utils.", source, flags=re.MULTILINE)
    return re.sub(r"^from \.", "from ", source, flags=re.MULTILINE)


def _over_lines(case: Case) -> Iterator[str]:
    """Rules that fire in a statement of several lines with a comment among them."""
    tokens = tokenize.generate_tokens(StringIO(case.source).readline)
    comments = {token.start[0] for token in tokens if token.type == tokenize.COMMENT}
    for line, code in case.expected:
        first, last = _lines(_statement(case.source, line))
        if last > first and comments & set(range(first, last)):
            yield code


def _by_other_names(case: Case) -> Iterator[str]:
    """Rules that fire in a statement with a name that `as` or `from` has given."""
    given = set(_given(ast.parse(case.source)))
    for line, code in case.expected:
        statement = _statement(case.source, line)
        if given & set(_names(statement)):
            yield code


def _statement(source: str, line: int) -> ast.stmt:
    """The innermost statement that has the line."""
    found = [
        node
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.stmt) and _lines(node)[0] <= line <= (node.end_lineno or 0)
    ]
    return min(found, key=lambda node: (node.end_lineno or 0) - _lines(node)[0])


def _lines(statement: ast.stmt) -> tuple[int, int]:
    """First and last line of a statement, without those of the statements inside."""
    decorators = getattr(statement, "decorator_list", [])
    first = min([statement.lineno, *(each.lineno for each in decorators)])
    inside = [node.lineno for node in getattr(statement, "body", [])]
    return first, min([statement.end_lineno or 0, *(line - 1 for line in inside)])


def _given(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            yield from (alias.asname or alias.name for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.asname for alias in node.names if alias.asname)


def _names(statement: ast.stmt) -> Iterator[str]:
    """Names that a statement uses, or gives by importing."""
    yield from _given(ast.Module([statement], []))
    for node in ast.walk(statement):
        if isinstance(node, ast.Name):
            yield node.id
