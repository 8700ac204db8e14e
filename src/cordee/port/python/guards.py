"""Whether code runs only where there is an accelerator."""

import ast
import re
from collections.abc import Iterator

from cordee.port.python.file import DEEPEST, PythonFile
from cordee.port.python.scopes import How

AVAILABLE = frozenset({
    "torch.cuda.is_available", "torch.npu.is_available", "torch_npu.npu.is_available",
    "torch.accelerator.is_available",
})  # fmt: skip
COUNTS = frozenset({"torch.cuda.device_count", "torch.accelerator.device_count"})
NPU = re.compile(r"(?:^|[^a-z])npu|ascend", re.IGNORECASE)
LEAVING = (ast.Return, ast.Raise, ast.Continue, ast.Break)


def guarded(file: PythonFile, node: ast.AST) -> bool:
    """Whether `node` is reached only if an accelerator is available."""
    child, parent = node, file.parent(node)
    while parent is not None:
        match parent:
            case ast.If() | ast.IfExp() | ast.While():
                inside = parent.body if isinstance(parent.body, list) else [parent.body]
                if child in inside and implies(file, parent.test):
                    return True
                if child is not parent.test and child not in inside and _denies(file, parent.test):
                    return True
            case ast.BoolOp(op=ast.And(), values=values) if child in values:
                if any(implies(file, value) for value in values[: values.index(child)]):
                    return True
        if isinstance(child, ast.stmt) and any(
            _leaves_without(file, earlier) for earlier in _before(parent, child)
        ):
            return True
        child, parent = parent, file.parent(parent)
    return False


def npu_has_its_own(file: PythonFile, node: ast.AST) -> bool:
    """Whether an `if` or a flag beside that of `node` is about NPUs."""
    child, parent = node, file.parent(node)
    while parent is not None:
        if isinstance(parent, (ast.If, ast.IfExp)):
            others = [test for test in _tests(file, parent) if child is not test]
            if any(_names_npu(test) for test in others) or _npu_is_next(file, parent):
                return True
        if isinstance(parent, ast.Assign) and _npu_has_a_flag(file, parent):
            return True
        if isinstance(parent, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            return False
        child, parent = parent, file.parent(parent)
    return False


def _npu_has_a_flag(file: PythonFile, flag: ast.Assign) -> bool:
    """Whether the next assignment, or the last, asks of the same thing whether it is an NPU."""
    block = _block(file, flag)
    at = block.index(flag) if flag in block else 0
    beside = [*block[max(at - 1, 0) : at], *block[at + 1 : at + 2]]
    asked = {ast.dump(c.left) for c in ast.walk(flag.value) if isinstance(c, ast.Compare)}
    return any(
        isinstance(part, ast.Compare) and _names_npu(part) and ast.dump(part.left) in asked
        for other in beside
        if isinstance(other, ast.Assign)
        for part in ast.walk(other.value)
    )


def _npu_is_next(file: PythonFile, branch: ast.If | ast.IfExp) -> bool:
    """Whether an `if` before or behind this one asks the same thing for the NPU."""
    block = _block(file, branch)
    at = block.index(branch) if branch in block else 0
    beside = [*block[max(at - 1, 0) : at], *block[at + 1 : at + 2]]
    match branch.test:
        case ast.Compare(left=asked):
            tests = [other.test for other in beside if isinstance(other, ast.If)]
            return any(
                isinstance(test, ast.Compare)
                and ast.dump(test.left) == ast.dump(asked)
                and _names_npu(test)
                for test in tests
            )
    return False


def _block(file: PythonFile, statement: ast.AST) -> list[ast.AST]:
    parent = file.parent(statement)
    blocks = (getattr(parent, name, None) for name in ("body", "orelse", "finalbody"))
    return next((b for b in blocks if isinstance(b, list) and statement in b), [])


def _tests(file: PythonFile, branch: ast.If | ast.IfExp) -> Iterator[ast.expr]:
    """The conditions of a whole chain of `if`, `elif` and `else`."""
    top: ast.AST = branch
    while isinstance(above := file.parent(top), (ast.If, ast.IfExp)) and top in _else(above):
        top = above
    while isinstance(top, (ast.If, ast.IfExp)):
        yield top.test
        rest = _else(top)
        top = rest[0] if len(rest) == 1 else branch.test


def _else(branch: ast.If | ast.IfExp) -> list[ast.AST]:
    return [*branch.orelse] if isinstance(branch, ast.If) else [branch.orelse]


def _names_npu(test: ast.expr) -> bool:
    return any(NPU.search(word) for node in ast.walk(test) for word in _words(node))


def _words(node: ast.AST) -> Iterator[str]:
    match node:
        case ast.Name(id=word) | ast.Attribute(attr=word) | ast.Constant(value=str(word)):
            yield word


def implies(file: PythonFile, test: ast.expr, depth: int = 0) -> bool:
    """Whether `test` being true means that an accelerator is available."""
    match test:
        case ast.Call():
            return file.name(test.func) in AVAILABLE
        case ast.BoolOp(op=ast.And(), values=values):
            return any(implies(file, value, depth) for value in values)
        case ast.Compare(left=ast.Call() as left, ops=[ast.Gt() | ast.GtE()]):
            return file.name(left.func) in COUNTS
        case ast.Compare(left=left, ops=[ast.Eq() | ast.In()], comparators=[right]):
            return any(
                isinstance(side, ast.Constant) and side.value == "cuda" for side in (left, right)
            )
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return _denies(file, operand, depth)
        case ast.Name() if depth < DEEPEST:
            values_ = [b.value for b in file.bindings(test) if b.how is How.VALUE]
            return (
                len(values_) == len(file.bindings(test)) > 0
                and all(v is not None and implies(file, v, depth + 1) for v in values_)
            )  # fmt: skip
    return False


def _denies(file: PythonFile, test: ast.expr, depth: int = 0) -> bool:
    """Whether `test` being false means that an accelerator is available."""
    match test:
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return implies(file, operand, depth)
        case ast.BoolOp(op=ast.Or(), values=values):
            return any(_denies(file, value, depth) for value in values)
    return False


def _leaves_without(file: PythonFile, statement: ast.stmt) -> bool:
    """`assert torch.cuda.is_available()`, or `if not torch.cuda.is_available(): return`."""
    match statement:
        case ast.Assert(test=test):
            return implies(file, test)
        case ast.If(test=test, body=[*_, last], orelse=[]):
            return isinstance(last, LEAVING) and _denies(file, test)
    return False


def _before(parent: ast.AST, child: ast.stmt) -> Iterator[ast.stmt]:
    """The statements that ran before `child` in its block."""
    for block in (getattr(parent, name, None) for name in ("body", "orelse", "finalbody")):
        if isinstance(block, list) and child in block:
            yield from block[: block.index(child)]
