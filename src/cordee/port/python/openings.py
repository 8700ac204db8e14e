"""Which code a condition opens: what runs on an NPU only once the condition allows for NPUs."""

import ast
import re
from collections.abc import Iterator

from cordee.port.python.file import DEEPEST, PythonFile, Span
from cordee.port.python.guards import LEAVING

SKIPPING = frozenset({"skipif", "skipIf", "skipUnless", "skip", "skipTest", "SkipTest"})
OF_CUDA = re.compile(r"cuda|gpu|nccl|nvidia", re.IGNORECASE)
OTHERS = re.compile(r"\b(?:xpu|npu|hpu|mps|mlu|accelerator)s?\b", re.IGNORECASE)  # any of them does
# "CUDA not available", "requires a GPU": any chip will do. "CUDA pool test" is about CUDA's own.
CHIPS = r"(?:(?:an?|any|multiple|several|(?:at\s+least\s+)?(?:\d+|one|two|four|eight))\s+)?(?:cuda|gpus?)(?:\s+(?:devices?|gpus?|support))?"
PLAIN = re.compile(
    rf"(?:no\s+{CHIPS}|(?:(?:this|the)\s+)?(?:tests?\s+)?(?:requires?|needs?)\s+{CHIPS}|"
    rf"{CHIPS}(?:\s+(?:is|are))?\s+(?:not\s+|un)?(?:available|required|needed|found|detected)|"
    rf"skip\w*\s+without\s+{CHIPS})(?:\s+(?:to\s+run\s+)?(?:for\s+)?(?:this|these|the)\s+tests?)?[\s.!;,-]*(?:skipp(?:ing|ed)[\s.]*)?",
    re.IGNORECASE,
)


def opened(file: PythonFile, node: ast.expr, denied: bool = False) -> tuple[Span, ...]:
    """The code that runs where the expression is true; where it is false, if `denied`."""
    return tuple(_opened(file, node, denied, 0))


def needs_cuda_itself(file: PythonFile, node: ast.expr) -> bool:
    """Whether a test is skipped for a reason that says more than that there is no chip."""
    child: ast.AST = node
    parent = file.parent(node)
    while isinstance(parent, (ast.UnaryOp, ast.BoolOp)):
        child, parent = parent, file.parent(parent)
    match parent:
        case ast.Call(func=func, args=[first, *_]) if first is child and _last(func) in SKIPPING:
            skips = [parent]
        case ast.If(test=test, body=body) if test is child:
            skips = [each for part in body for each in ast.walk(part) if isinstance(each, ast.Call)]
        case _:
            return False
    said = (text for call in skips if _last(call.func) in SKIPPING for text in _texts(call))
    return any(
        OF_CUDA.search(text) and not OTHERS.search(text) and not PLAIN.fullmatch(text.strip())
        for text in said
    )


def _last(func: ast.expr) -> str:
    return func.attr if isinstance(func, ast.Attribute) else getattr(func, "id", "")


def _texts(call: ast.Call) -> Iterator[str]:
    for given in (*call.args, *(keyword.value for keyword in call.keywords)):
        match given:
            case ast.Constant(value=str(text)):
                yield text


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
    name = _last(func)
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
