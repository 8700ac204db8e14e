"""Extensions for CUDA in a setup.py, left out where there is no compiler for them."""

import ast
import re

from cordee.port.finding import Edit, Fix, Safety
from cordee.port.python.extensions import BUILDER
from cordee.port.python.file import PythonFile

HOME = "CUDA_HOME"
ASKS = re.compile(rf"{HOME}|is_available|WITH_CUDA|FORCE_CUDA|SKIP_CUDA|BUILD_CUDA")


def conditional(file: PythonFile, node: ast.Call) -> bool:
    """Whether a condition around `node` asks for CUDA."""
    child: ast.AST = node
    parent = file.parent(node)
    while parent is not None and not isinstance(parent, ast.FunctionDef):
        match parent:
            case ast.If(test=test) | ast.IfExp(test=test) if test is not child:
                if ASKS.search(file.text(test)):
                    return True
        child, parent = parent, file.parent(parent)
    return False


def left_out(file: PythonFile, node: ast.Call) -> Fix | None:
    """The extension, only where PyTorch finds CUDA's compiler."""
    home = _home(file, node.func)
    if home is None or not file.exact(node):
        return None
    text, imports = home
    span, parent = file.span(node), file.parent(node)
    if isinstance(parent, ast.List):
        around = (Edit(span.start, span.start, "*(["), Edit(span.end, span.end, f"] if {text} else [])"))  # fmt: skip
        return Fix((*imports, *around), Safety.UNSAFE)
    statement = file.parent(parent) if parent is not None else None
    match parent:
        case ast.Call(func=ast.Attribute(attr="append")) if isinstance(statement, ast.Expr):
            whole = file.span(statement)
            line, column = file.source.position(whole.start)
            indent = file.source.line(line)[: column - 1]
            end = file.source.position(whole.end)
            after = file.source.line(end[0])[end[1] - 1 :].strip()
            if indent.strip() or (after and not after.startswith("#")):
                return None
            begin = f"if {text}:{file.source.newline}{indent}{file.indent}"
            return Fix((*imports, Edit(whole.start, whole.start, begin)), Safety.UNSAFE)
    return None


def _home(file: PythonFile, func: ast.expr) -> tuple[str, tuple[Edit, ...]] | None:
    """How to write `CUDA_HOME` where the call is, and what that imports."""
    match func:
        case ast.Attribute(value=module):
            return f"{file.text(module)}.{HOME}", ()
        case ast.Name():
            bindings = file.bindings(func)
            statement = bindings[0].node if len(bindings) == 1 else None
            found = file.scope(func).lookup(HOME)
            if found is not None:
                known = all(b.dotted == f"{BUILDER}.{HOME}" for b in found[1])
                return (HOME, ()) if known else None
            if isinstance(statement, ast.ImportFrom) and statement.module == BUILDER:
                start = file.span(statement.names[0]).start
                return HOME, (Edit(start, start, f"{HOME}, "),)
    return None
