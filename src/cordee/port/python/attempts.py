"""Imports that may fail: whether the file goes on without them."""

import ast

from cordee.port.python.file import PythonFile

MISSING = frozenset({"ImportError", "ModuleNotFoundError", "Exception", "BaseException", "OSError"})


def attempted(file: PythonFile, node: ast.AST) -> bool:
    """Whether the file carries on if the import `node` fails."""
    child, parent = node, file.parent(node)
    while parent is not None:
        match parent:
            case ast.Try(body=body, handlers=handlers) if child in body:
                if any(_catches(handler) for handler in handlers):
                    return True
            case ast.With(items=[ast.withitem(context_expr=ast.Call(func=func)), *_]):
                if file.name(func) == "contextlib.suppress":
                    return True
        child, parent = parent, file.parent(parent)
    return False


def _catches(handler: ast.ExceptHandler) -> bool:
    kinds: list[ast.expr | None] = [handler.type]
    if isinstance(handler.type, ast.Tuple):
        kinds = list(handler.type.elts)
    caught = any(kind is None or _last(kind) in MISSING for kind in kinds)
    return caught and not any(_leaves(statement) for statement in handler.body)


def _leaves(statement: ast.stmt) -> bool:
    match statement:
        case ast.Raise():
            return True
        case ast.Expr(value=ast.Call(func=func)):
            return _last(func) in ("exit", "quit", "_exit")
    return False


def _last(node: ast.expr) -> str:
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
    return ""


def in_handler(file: PythonFile, node: ast.AST) -> bool:
    """Whether `node` is what is done after something failed."""
    parent = file.parent(node)
    while parent is not None and not isinstance(parent, (ast.FunctionDef, ast.ClassDef)):
        if isinstance(parent, ast.ExceptHandler):
            return True
        parent = file.parent(parent)
    return False
