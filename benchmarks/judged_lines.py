"""Is a line that names NVIDIA a tie to it? What a person has judged, and three things that are plain.

Plain is: a use of a name that the repository gives to something of its own; a text that is only
shown (the help of an option, an error, what is printed or logged, why a test is skipped); and both
on one line. Everything else is judged in real_repositories/missed.toml, by a pattern for what
stands in many lines, or by path and line.
"""

import ast
import re
import tomllib
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from named_lines import NAMES, WORD, Named
from own_names import is_own, own_names

TABLE = Path(__file__).parent / "real_repositories" / "missed.toml"
TIE, NONE, UNJUDGED = "tie", "none", "not judged"
SHOWN_BY = re.compile(
    r"(?:\w*_)?(?:print\w*|warn\w*|log|info|debug|error|exception|critical|skip\w*|fail|echo|fatal|xfail)"
    r"(?:_\w+)?|skipif|_?log_\w+"
)
SHOWN_AS = frozenset({"help", "reason", "description", "msg", "desc", "message", "match"})


@dataclass(frozen=True, kw_only=True)
class Row:
    """One judgement. `repository` may be * for all of them."""

    repository: str
    verdict: str
    why: str
    pattern: str = ""
    path: str = ""
    line: int = 0


@cache
def rows() -> tuple[Row, ...]:
    """The table."""
    return tuple(Row(**row) for row in tomllib.loads(TABLE.read_text()).get("row", []))


class Judge:
    """Gives the verdict on lines of one repository."""

    def __init__(self, name: str, root: Path) -> None:
        self.root, self._own = root, own_names(root)
        mine = [row for row in rows() if row.repository in ("*", name)]
        self._lines = {(row.path, row.line): row.verdict for row in mine if row.line}
        by_pattern = [row for row in mine if row.pattern]
        self._ties = [re.compile(row.pattern) for row in by_pattern if row.verdict == TIE]
        self._nones = [re.compile(row.pattern) for row in by_pattern if row.verdict == NONE]
        self._bare = cache(self._without_shown)

    def verdict(self, named: Named) -> str:
        """TIE, NONE or UNJUDGED."""
        if (named.path, named.line) in self._lines:
            return self._lines[named.path, named.line]
        if named.kind == "cuda":
            return TIE
        text = self._bare(named.path)[named.line - 1]
        if any(pattern.search(text) for pattern in self._ties):
            return TIE
        for pattern in self._nones:
            text = pattern.sub(" ", text)
        words = [w for w in WORD.findall(text) if any(p in w or w in p for p in named.words)]
        return NONE if all(is_own(word, self._own) for word in words) else UNJUDGED

    def _without_shown(self, path: str) -> list[str]:
        """The lines of a file, of a Python file without texts that are only shown."""
        lines = (self.root / path).read_text("utf-8", errors="replace").split("\n")
        if not path.endswith((".py", ".pyi")):
            return lines
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                tree = ast.parse("\n".join(lines))
        except (SyntaxError, ValueError):
            return lines
        for text in _shown(tree):
            _blank(lines, text)
        return lines


def _shown(tree: ast.AST) -> Iterator[ast.expr]:
    for node in ast.walk(tree):
        match node:
            case ast.Raise(exc=value) | ast.Assert(msg=value):
                yield from _texts(value)
            case ast.keyword(arg=str(name), value=value) if name in SHOWN_AS:
                yield from _texts(value)
            case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name)):
                if SHOWN_BY.fullmatch(name):
                    for argument in node.args:
                        yield from _texts(argument)


def _texts(value: ast.AST | None) -> Iterator[ast.expr]:
    for node in ast.walk(value) if value is not None else ():
        if isinstance(node, (ast.JoinedStr, ast.Constant)) and NAMES.search(ast.unparse(node)):
            yield node


def _blank(lines: list[str], node: ast.expr) -> None:
    """Write spaces over an expression."""
    last = node.end_lineno or node.lineno
    for number in range(node.lineno, last + 1):
        data = lines[number - 1].encode()
        start = node.col_offset if number == node.lineno else 0
        end = (node.end_col_offset or 0) if number == last else len(data)
        blanked = data[:start] + b" " * (end - start) + data[end:]
        lines[number - 1] = blanked.decode(errors="replace")
