"""Which code a condition opens: what runs on an NPU only once the condition allows for NPUs."""

import ast
from collections.abc import Iterator

from cordee.port.python.file import DEEPEST, PythonFile, Span
from cordee.port.python.guards import LEAVING


def opened(file: PythonFile, node: ast.expr, denied: bool = False) -> tuple[Span, ...]:
    """The code that runs where the expression is true; where it is false, if `denied`."""
    return tuple(_opened(file, node, denied, 0))


def _opened(file: PythonFile, node: ast.AST, denied: bool, depth: int) -> Iterator[Span]:
    child, parent = node, file.parent(node)
    while parent is not None and depth < DEEPEST:
        match parent:
            case ast.UnaryOp(op=ast.Not()):
                denied = not denied
            case ast.BoolOp(op=operator, values=values):
                if isinstance(operator, ast.Or) is denied:
                    yield from _spans(file, values[values.index(child) + 1 :])  # type: ignore[arg-type]
            case ast.If(test=test) | ast.IfExp(test=test) | ast.While(test=test) if child is test:
                yield from _branch(file, parent, denied)
                return
            case ast.Call(func=func, args=[first, *_]) if first is child:
                yield from _skipped(file, parent, func, denied)
                return
            case ast.Assign(targets=[ast.Name(id=name)]):
                for use in file.named(name):
                    if isinstance(use.ctx, ast.Load) and file.scope(use) is file.scope(parent):
                        yield from _opened(file, use, denied, depth + 1)
                return
            case _:
                return
        child, parent = parent, file.parent(parent)


def _skipped(file: PythonFile, call: ast.Call, func: ast.expr, denied: bool) -> Iterator[Span]:
    """What a decorator such as `pytest.mark.skipif` keeps from running."""
    name = func.attr if isinstance(func, ast.Attribute) else getattr(func, "id", "")
    runs = {"skipif": denied, "skipIf": denied, "skipUnless": not denied}
    owner = file.parent(call)
    if runs.get(name) and isinstance(owner, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        yield from _spans(file, [*owner.body])


def _branch(file: PythonFile, branch: ast.AST, denied: bool) -> Iterator[Span]:
    match branch:
        case ast.IfExp(body=body, orelse=orelse):
            yield file.span(orelse if denied else body)
        case ast.If(body=body, orelse=orelse) | ast.While(body=body, orelse=orelse):
            yield from _spans(file, orelse if denied else body)  # type: ignore[arg-type]
            if denied and not orelse and isinstance(body[-1], LEAVING):
                yield from _spans(file, _after(file, branch))


def _after(file: PythonFile, statement: ast.AST) -> list[ast.AST]:
    """The statements behind this one in its block."""
    parent = file.parent(statement)
    for name in ("body", "orelse", "finalbody"):
        block = getattr(parent, name, None)
        if isinstance(block, list) and statement in block:
            return list(block[block.index(statement) + 1 :])
    return []


def _spans(file: PythonFile, nodes: list[ast.AST]) -> Iterator[Span]:
    if nodes:
        yield Span(file.span(nodes[0]).start, file.span(nodes[-1]).end)
