"""An import of a library that is made for CUDA, from a module that does the same on any chip.

The modules are the files in ../shims; a port copies those into the repository that it imports.
"""

import ast
import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from cordee.core.facts import Fact, rows
from cordee.port.finding import Edit, Fix, NewFile, Safety
from cordee.port.python.attempts import attempted
from cordee.port.python.file import PythonFile
from cordee.port.python.neighbours import Home, home
from cordee.port.python.scopes import How

KERNELS = "ascend_kernels"  # stands for extensions that are compiled for CUDA
SHIMS = files("cordee.port") / "shims"
SAFETIES = {"safe": Safety.SAFE, "unsafe": Safety.UNSAFE}


@dataclass(frozen=True, slots=True, kw_only=True)
class Replacement(Fact):
    """Names of one module that a shim has too."""

    module: str
    names: list[str]
    shim: str
    safety: str = "safe"
    remark: str = ""  # what a person is to know


@dataclass(frozen=True, slots=True)
class Replaced:
    """What an import would become."""

    rows: tuple[Replacement, ...]
    names: tuple[str, ...]  # what is imported, as it is called in the library
    fix: Fix | None

    @property
    def shim(self) -> str:
        """The module that is imported instead."""
        return self.rows[0].shim


@cache
def replacements() -> tuple[Replacement, ...]:
    """The table."""
    return tuple(rows(files("cordee.port.rules") / "replacements.toml", Replacement))


@cache
def shim_names() -> frozenset[str]:
    """The modules that a port may add to a repository."""
    roots = {*(row.shim for row in replacements()), KERNELS}
    return frozenset(name for root in roots for name in brought(root))


@cache
def brought(shim: str) -> tuple[str, ...]:
    """The modules that come with one: itself, and those that it imports, whose names it quotes."""
    found = [shim]
    for name in found:  # grows
        quoted = re.findall(r'"(ascend_\w+)"', shim_text(name))
        found += [each for each in dict.fromkeys(quoted) if each not in found]
    return tuple(found)


def new_files(place: Home, shim: str) -> tuple[NewFile, ...]:
    """The modules that are put into a repository for one of them to be imported."""
    return tuple(NewFile(place.path(name), shim_text(name)) for name in brought(shim))


def is_shim(file: PythonFile) -> bool:
    """Whether the file is one that a port added."""
    stem = file.source.path.rpartition("/")[2].removesuffix(".py")
    return stem in shim_names() and "Written by `cordee port`" in file.source.text[:2000]


def replaced(file: PythonFile, node: ast.Import | ast.ImportFrom) -> Replaced | None:
    """What becomes of an import; None where no shim has all that is imported."""
    found = _names_from(file, node) if isinstance(node, ast.ImportFrom) else _module(file, node)
    if found is None or len({row.shim for row in found.rows}) > 1:
        return None
    return found


def of_replaced(file: PythonFile, node: ast.expr) -> bool:
    """Whether a name is reached through imports alone that something replaces."""
    while isinstance(node, ast.Attribute):
        node = node.value
    if not isinstance(node, ast.Name):
        return False
    imports = [
        b.node for b in file.bindings(node) if isinstance(b.node, ast.Import | ast.ImportFrom)
    ]
    whole = imports and len(imports) == len(file.bindings(node))
    return bool(whole) and all(replaced(file, each) is not None for each in imports)


def _names_from(file: PythonFile, node: ast.ImportFrom) -> Replaced | None:
    if node.level or node.module is None:
        return None
    found = [_row(node.module, alias.name) for alias in node.names]
    known = [row for row in found if row is not None]
    if len(known) == len(found):
        place = re.compile(r"from\s+([\w.]+)\s+import\b").match(_text(file, node))
        start = file.span(node).start
        span = None if place is None else (start + place.start(1), start + place.end(1))
        names = tuple(alias.name for alias in node.names)
        return Replaced(tuple(known), names, _fix(file, node, known, span, None))
    if len(node.names) == 1:
        return _as_module(file, node, node.names[0], f"{node.module}.{node.names[0].name}")
    return None


def _module(file: PythonFile, node: ast.Import) -> Replaced | None:
    if len(node.names) > 1:
        return None
    alias = node.names[0]
    if "." in alias.name and alias.asname is None:
        return None  # it binds the library, not the module
    return _as_module(file, node, alias, alias.name)


def _as_module(
    file: PythonFile, node: ast.Import | ast.ImportFrom, alias: ast.alias, module: str
) -> Replaced | None:
    """The module itself, if all that is looked up in it is in the shim."""
    if all(row.module != module for row in replacements()):
        return None
    bound = alias.asname or alias.name
    used = _looked_up(file, node, bound)
    if not used:
        return None
    found = [_row(module, name) for name in used]
    known = [row for row in found if row is not None]
    if len(known) < len(found):
        return None
    span = file.span(node)
    fix = _fix(file, node, known, (span.start, span.end), bound)
    return Replaced(tuple(known), tuple(used), fix)


def _looked_up(file: PythonFile, statement: ast.stmt, bound: str) -> list[str] | None:
    """The attributes of the module that a statement binds; None where it is used otherwise."""
    names: list[str] = []
    for node in file.nodes():
        if not isinstance(node, ast.Name) or node.id != bound:
            continue
        bindings = file.bindings(node)
        if all(binding.node is not statement for binding in bindings):
            continue
        parent = file.parent(node)
        alone = len(bindings) == 1 and bindings[0].how is How.IMPORT
        if not alone or not isinstance(parent, ast.Attribute):
            return None
        names.append(parent.attr)
    return list(dict.fromkeys(names))


def _fix(
    file: PythonFile,
    node: ast.Import | ast.ImportFrom,
    found: list[Replacement],
    span: tuple[int, int] | None,
    bound: str | None,
) -> Fix | None:
    """The edit of the import; `bound` is the name of the module itself, None for names of it."""
    shim = found[0].shim
    if span is None or (bound is not None and "#" in _text(file, node)):
        return None
    place = home(file)
    text = place.statement(shim) if bound is None else f"{place.within(shim)} as {bound}"
    safe = place.sure and not attempted(file, node)
    safe = safe and all(SAFETIES[row.safety] is Safety.SAFE for row in found)
    safety = Safety.SAFE if safe else Safety.UNSAFE
    return Fix((Edit(*span, text),), safety, new_files(place, shim))


def _row(module: str, name: str) -> Replacement | None:
    every = replacements()
    return next((row for row in every if row.module == module and name in row.names), None)


def _text(file: PythonFile, node: ast.AST) -> str:
    return file.text(node)


@cache
def shim_text(shim: str) -> str:
    """The module as it is copied."""
    return (SHIMS / f"{shim}.py").read_text("utf-8")
