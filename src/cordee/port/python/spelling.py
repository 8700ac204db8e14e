"""How to write a name of torch at some place: through what is imported there, or one import more."""

import ast
from dataclasses import dataclass

from cordee.port.finding import Edit
from cordee.port.python.file import PythonFile
from cordee.port.python.scopes import How, Scope


@dataclass(frozen=True, slots=True)
class Spelling:
    """The text of a name, and what must be imported for it."""

    text: str
    imports: tuple[Edit, ...] = ()


def spell(file: PythonFile, at: ast.AST, dotted: str) -> Spelling | None:
    """How to write `dotted`, a name of torch, where `at` stands.

    None where that takes an import and the file has no import of torch to put it beside.
    """
    found = _through(file, file.scope(at), dotted)
    if found is not None:
        return Spelling(found)
    root = dotted.partition(".")[0]
    module = file.scope(at).module
    beside = _first_import(file, root)
    taken = _seen(file.scope(at), root)
    if beside is None or taken:
        return None
    assert root not in module.bindings
    start = file.source.line_starts[beside.lineno - 1]
    return Spelling(dotted, (Edit(start, start, f"import {root}{file.source.newline}"),))


def _through(file: PythonFile, scope: Scope, dotted: str) -> str | None:
    """`dotted` through the import that is nearest and says most of it."""
    hidden: set[str] = set()
    best: tuple[int, str] | None = None
    at: Scope | None = scope
    while at is not None:
        if at is scope or not isinstance(at.node, ast.ClassDef):
            for name, bindings in at.bindings.items():
                if name in hidden:
                    continue
                hidden.add(name)
                meanings = {b.dotted if b.how is How.IMPORT else "" for b in bindings}
                meaning = meanings.pop() if len(meanings) == 1 else ""
                if meaning and f"{dotted}.".startswith(f"{meaning}."):
                    best = max(best or (0, ""), (len(meaning), name + dotted[len(meaning) :]))
        at = at.parent
    return best[1] if best else None


def _seen(scope: Scope, name: str) -> bool:
    return scope.lookup(name) is not None


def _first_import(file: PythonFile, root: str) -> ast.stmt | None:
    """The first statement of the module's body that imports `root` or a part of it."""
    for statement in file.tree.module.body:
        match statement:
            case ast.Import(names=names):
                modules = [alias.name for alias in names]
            case ast.ImportFrom(module=str(module), level=0):
                modules = [module]
            case _:
                continue
        if any(f"{module}.".startswith(f"{root}.") for module in modules):
            return statement
    return None
