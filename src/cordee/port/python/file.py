"""One Python file, and every question that a rule can ask about it."""

import ast
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import NoReturn

from cordee.core.errors import SourceError
from cordee.port.python.literals import Literal, literals
from cordee.port.python.scopes import BUILTINS, Binding, How, Scope, Tree, tree
from cordee.port.setting import Setting
from cordee.port.source import Source

USUAL = Setting()
DENTED = "    "
DEEPEST = 8  # aliases of aliases that are followed


@dataclass(frozen=True, slots=True)
class Span:
    """Characters [start, end) of a file."""

    start: int
    end: int


class PythonFile:
    """A parsed module over its text. Raises `SourceError` if it does not parse."""

    kind = "python"

    def __init__(self, source: Source, setting: Setting = USUAL) -> None:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # invalid escapes are the user's business
                module = ast.parse(source.text)
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            line = f"line {error.lineno}: " if isinstance(error, SyntaxError) else ""
            what = error.msg if isinstance(error, SyntaxError) else str(error)
            raise SourceError(f"{source.path}: {line}not valid Python: {what}") from error
        self.source = source
        self.setting = setting
        self.tree: Tree = tree(module)
        self._names: dict[ast.AST, str | None] = {}
        self._ascii = source.text.isascii()

    def nodes(self) -> Iterator[ast.AST]:
        """Every node, parents before children."""
        return iter(self.tree.nodes)

    def parts(self) -> Iterator[NoReturn]:
        """Nothing: a Python file holds no files."""
        return iter(())

    # What the text says.

    def span(self, node: ast.AST) -> Span:
        """Where `node` is written; of a part of an f-string that cannot be found, the f-string."""
        span = self._span(node)
        outer = self.formatted(node)
        if outer is None or self._reads(node, span):
            return span
        return self._span(outer)

    def exact(self, node: ast.AST) -> bool:
        """Whether `span` is that of `node` itself, and not of the f-string around it."""
        return self.formatted(node) is None or self._reads(node, self._span(node))

    def text(self, node: ast.AST) -> str:
        """`node` as it is written."""
        span = self.span(node)
        return self.source.text[span.start : span.end]

    def literals(self, node: ast.Constant | ast.JoinedStr) -> list[Literal]:
        """The literals that a string is written with."""
        span = self.span(node)
        return list(literals(self.source.text, span.start, span.end))

    def attribute(self, node: ast.Attribute) -> Span:
        """Where the name behind the dot is written."""
        span = self.span(node)
        return Span(span.end - len(node.attr), span.end)

    def arguments(self, node: ast.Call) -> Span:
        """What is between the parentheses of a call."""
        match = re.compile(r"(?:\s|\\\r?\n|#[^\r\n]*|\))*\(").match(
            self.source.text, self.span(node.func).end
        )
        assert match is not None
        return Span(match.end(), self.span(node).end - 1)

    def formatted(self, node: ast.AST) -> ast.JoinedStr | None:
        """The outermost f-string that `node` is a part of."""
        found = None
        parent = self.parent(node)
        while isinstance(parent, ast.expr):
            if isinstance(parent, ast.JoinedStr):
                found = parent
            parent = self.parent(parent)
        return found

    def _span(self, node: ast.AST) -> Span:
        assert isinstance(node, (ast.expr, ast.stmt, ast.arg, ast.keyword, ast.alias))
        end_line, end_column = node.end_lineno, node.end_col_offset
        assert end_line is not None
        assert end_column is not None
        return Span(self._offset(node.lineno, node.col_offset), self._offset(end_line, end_column))

    def _offset(self, line: int, column_bytes: int) -> int:
        start = self.source.line_starts[line - 1]
        if self._ascii:
            return start + column_bytes
        head = self.source.text[start : start + column_bytes].encode()[:column_bytes]
        return start + len(head.decode(errors="ignore"))

    def _reads(self, node: ast.AST, span: Span) -> bool:
        """Whether the text of `span` is `node`: before Python 3.12 f-strings are not placed well."""
        try:
            found = ast.parse(f"({self.source.text[span.start : span.end]})", mode="eval").body
        except (SyntaxError, ValueError):
            return False
        return ast.dump(found) == ast.dump(node)

    # What is around a node.

    def parent(self, node: ast.AST) -> ast.AST | None:
        """What `node` is a part of."""
        return self.tree.parents.get(node)

    def statement(self, node: ast.AST) -> ast.stmt:
        """The innermost statement that holds `node`."""
        while not isinstance(node, ast.stmt):
            node = self.tree.parents[node]
        return node

    def scope(self, node: ast.AST) -> Scope:
        """Where the names in `node` are looked up."""
        return self.tree.scopes[node]

    # What names mean.

    def name(self, node: ast.AST | None) -> str | None:
        """The full dotted name that `node` stands for, through imports and aliases; or None.

        `c.synchronize` after `from torch import cuda as c` is `torch.cuda.synchronize`. Names that
        mean different things at different times have none.
        """
        return self._name(node, 0) if node is not None else None

    def bindings(self, node: ast.Name) -> list[Binding]:
        """Every way in which a name gets its meaning."""
        found = self.scope(node).lookup(node.id)
        return found[1] if found else []

    def named(self, name: str) -> list[ast.Name]:
        """Every place where this one name stands, whatever it means there."""
        return self._by_name.get(name, [])

    def called(self, node: ast.AST | None) -> str | None:
        """The full name of what a call calls; None of anything else."""
        return self.name(node.func) if isinstance(node, ast.Call) else None

    def _name(self, node: ast.AST, depth: int) -> str | None:
        if depth > DEEPEST or not isinstance(node, (ast.Name, ast.Attribute)):
            return self._looked_up(node, depth) if isinstance(node, ast.Call) else None
        if node not in self._names:
            self._names[node] = None  # a name that is bound to itself has no meaning
            if isinstance(node, ast.Attribute):
                base = self._name(node.value, depth)
                self._names[node] = f"{base}.{node.attr}" if base else None
            else:
                self._names[node] = self._bound(node, depth)
        return self._names[node]

    def _bound(self, node: ast.Name, depth: int) -> str | None:
        bindings = self.bindings(node)
        if not bindings:
            return f"builtins.{node.id}" if node.id in BUILTINS else None
        meanings = {self._meaning(binding, depth) for binding in bindings if not _absent(binding)}
        return meanings.pop() if len(meanings) == 1 else None

    def _meaning(self, binding: Binding, depth: int) -> str | None:
        if binding.how is How.IMPORT:
            return binding.dotted
        if binding.how is How.VALUE and binding.value is not None:
            return self._name(binding.value, depth + 1)
        return None

    def _looked_up(self, node: ast.Call, depth: int) -> str | None:
        """Of getattr(torch, "cuda") and of importlib.import_module("torch.cuda")."""
        match node.func, node.args:
            case ast.Name(id="getattr"), [base, ast.Constant(value=str(attribute)), *_]:
                named = self._name(base, depth + 1)
                return f"{named}.{attribute}" if named else None
            case _, [ast.Constant(value=str(module))]:
                importing = ("importlib.import_module", "builtins.__import__")
                return module if self._name(node.func, depth + 1) in importing else None
        return None

    @cached_property
    def indent(self) -> str:
        """One step of indentation, as the file does it."""
        for node in self.tree.module.body:
            inside = getattr(node, "body", None)
            if isinstance(inside, list) and inside and inside[0].lineno != node.lineno:
                line = self.source.line(inside[0].lineno)
                return line[: len(line) - len(line.lstrip())] or DENTED
        return DENTED

    @cached_property
    def _by_name(self) -> dict[str, list[ast.Name]]:
        found: dict[str, list[ast.Name]] = {}
        for node in self.tree.nodes:
            if isinstance(node, ast.Name):
                found.setdefault(node.id, []).append(node)
        return found

    @cached_property
    def imports(self) -> frozenset[str]:
        """The modules that the file imports anywhere, with their parents: torch for torch.nn."""
        modules: set[str] = set()
        for node in self.tree.nodes:
            if isinstance(node, ast.Import):
                modules.update(alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                modules.add(node.module)
                modules.update(f"{node.module}.{alias.name}" for alias in node.names)
        return frozenset(
            ".".join(parts[: n + 1])
            for parts in (module.split(".") for module in modules)
            for n in range(len(parts))
        )


def _absent(binding: Binding) -> bool:
    """`name = None` and its like, where an import failed."""
    match binding.value:
        case ast.Constant(value=None | False | True) if binding.how is How.VALUE:
            return True
    return False
