"""Extensions that are compiled for CUDA, loaded through a module that stands for them elsewhere.

The module is ../shims/ascend_kernels.py; a port copies it into the repository that imports it.
"""

import ast
import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from cordee.core.facts import Fact, rows
from cordee.port.finding import Edit, Fix, Safety
from cordee.port.python.attempts import attempted
from cordee.port.python.file import PythonFile
from cordee.port.python.neighbours import home, own
from cordee.port.python.replacements import KERNELS, new_files
from cordee.port.python.scopes import How

BUILDER = "torch.utils.cpp_extension"
SHIM = KERNELS
OFFERED = frozenset({
    "load", "load_inline", "BuildExtension", "CppExtension", "CUDAExtension", "CUDA_HOME",
    "ROCM_HOME",
})  # fmt: skip
STUB = f"where it is not compiled, functions of `{SHIM}` say what is missing when they are called"


@dataclass(frozen=True, slots=True, kw_only=True)
class Formula(Fact):
    """An extension that is computed in PyTorch where it is not compiled."""

    pattern: str  # of all of the extension's name
    kernels: str  # in the name of a kernel, or of its file
    what: str
    imported: bool = False  # whether an import of this name can mean nothing else


def formula(extension: str) -> Formula | None:
    """What computes the extension of this name."""
    last = extension.rpartition(".")[2]
    return next((row for row in formulas() if re.fullmatch(row.pattern, last)), None)


def kernel_formula(*names: str) -> Formula | None:
    """What computes a kernel, of the names of itself and of its file."""
    every = ((row, name) for row in formulas() for name in names)
    return next((row for row, name in every if re.search(row.kernels, name)), None)


def stands(found: Formula | None) -> str:
    """What stands for an extension on a chip it is not compiled for."""
    if found is None:
        return STUB
    return f"where it is not compiled, `{SHIM}` computes {found.what} in PyTorch"


def loading(file: PythonFile, node: ast.Call) -> Fix | None:
    """The fix of a call of `load` or `load_inline`: that of the module beside the file.

    It is safe where the extension is computed in PyTorch, and where the file as a whole needs it: a
    function that loads one may be called by code that knows what to do without.
    """
    edits = _by_name(file, node.func) if isinstance(node.func, ast.Name) else None
    if isinstance(node.func, ast.Attribute):
        edits = _by_attribute(file, node.func)
    if edits is None:
        return None
    place = home(file)
    needed = formula(extension_name(node)) is not None or _at_import(file, node)
    safe = place.sure and needed and not attempted(file, node)
    return Fix(edits, Safety.SAFE if safe else Safety.UNSAFE, new_files(place, SHIM))


def extension_name(node: ast.Call) -> str:
    """What an extension that a call compiles is called, where that is written there."""
    named = [k.value for k in node.keywords if k.arg == "name"]
    for each in [*named, *node.args[:1]]:
        if isinstance(each, ast.Constant) and isinstance(each.value, str):
            return each.value
    return ""


def compiled(file: PythonFile, name: str) -> bool:
    """Whether an import of `name` means an extension that is known, or that a setup.py here builds."""
    found = formula(name)
    known = found is not None and found.imported
    if "." in name or not (known or name in file.setting.project.extensions):
        return False
    return not own(file, name)


def importing(file: PythonFile, node: ast.Import) -> Fix | None:
    """The fix of an import of a compiled extension."""
    if len(node.names) > 1 or "#" in file.text(node):
        return None
    name, bound = node.names[0].name, node.names[0].asname
    tried = attempted(file, node)
    if not compiled(file, name) or (tried and formula(name) is None):
        return None  # a stub where the file knows what to do without would mislead it
    place, span = home(file), file.span(node)
    text = f"from {place.statement(SHIM)} import {name}" + (f" as {bound}" if bound else "")
    safe = place.sure and not tried
    safety = Safety.SAFE if safe else Safety.UNSAFE
    return Fix((Edit(span.start, span.end, text),), safety, new_files(place, SHIM))


def _at_import(file: PythonFile, node: ast.Call) -> bool:
    return isinstance(file.scope(node).node, ast.Module)


def _by_name(file: PythonFile, func: ast.Name) -> tuple[Edit, ...] | None:
    """`from torch.utils.cpp_extension import load`, from elsewhere."""
    bindings = file.bindings(func)
    statement = bindings[0].node if len(bindings) == 1 else None
    if not isinstance(statement, ast.ImportFrom) or statement.module != BUILDER:
        return None
    if any(alias.name not in OFFERED for alias in statement.names):
        return None
    place = re.compile(r"from\s+([\w.]+)\s+import\b").match(file.text(statement))
    if place is None:
        return None
    start = file.span(statement).start
    return (Edit(start + place.start(1), start + place.end(1), home(file).statement(SHIM)),)


def _by_attribute(file: PythonFile, func: ast.Attribute) -> tuple[Edit, ...] | None:
    """`cpp_extension.load`, of a module that is imported before the one it was of."""
    root: ast.expr = func
    while isinstance(root, ast.Attribute):
        root = root.value
    if not isinstance(root, ast.Name) or not file.exact(func) or "#" in file.text(func):
        return None
    span = file.span(func)
    edit = Edit(span.start, span.end, f"{SHIM}.{func.attr}")
    taken = file.scope(func).lookup(SHIM)
    if taken is not None:
        return (edit,) if all(b.how is How.IMPORT for b in taken[1]) else None
    statements = [binding.node for binding in file.bindings(root)]
    imports = [s for s in statements if isinstance(s, (ast.Import, ast.ImportFrom))]
    if not imports or len(imports) < len(statements) or attempted(file, imports[0]):
        return None
    start = file.span(imports[0]).start
    line = file.source.line_starts[file.source.position(start)[0] - 1]
    indent = file.source.text[line:start]
    if indent.strip():
        return None
    new = f"{indent}{home(file).within(SHIM)}{file.source.newline}"
    return (Edit(line, line, new), edit)


@cache
def formulas() -> tuple[Formula, ...]:
    """The table."""
    return tuple(rows(files("cordee.port.rules") / "kernels.toml", Formula))
