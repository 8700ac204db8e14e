"""The edits that rules are made of: a name for a name, a call only where there is a chip."""

import ast
from dataclasses import replace

from cordee.port.finding import Edit, Fix, NewFile, Safety
from cordee.port.python.file import PythonFile, Span
from cordee.port.python.guards import guarded
from cordee.port.python.spelling import spell

AVAILABLE = "torch.accelerator.is_available"
MODULE = "torch.get_device_module"  # torch.cuda, torch.npu or torch.cpu, as the machine is


def substituted(file: PythonFile, node: ast.AST, text: str, *imports: Edit) -> Fix | None:
    """`text` for all of `node`; None where a comment would be lost or the place is not sure."""
    if not file.exact(node) or "#" in file.text(node):
        return None
    span = file.span(node)
    return Fix((*imports, Edit(span.start, span.end, text)))


def renamed(file: PythonFile, node: ast.expr, dotted: str) -> Fix | None:
    """The name of torch `dotted` for the name `node`."""
    spelling = spell(file, node, dotted)
    return substituted(file, node, spelling.text, *spelling.imports) if spelling else None


def of_device_module(file: PythonFile, node: ast.expr, attribute: str) -> Fix | None:
    """`torch.get_device_module().attribute` for the name `node`."""
    spelling = spell(file, node, MODULE)
    if spelling is None:
        return None
    return substituted(file, node, f"{spelling.text}().{attribute}", *spelling.imports)


def where_available(file: PythonFile, node: ast.Call, alone: str, fix: Fix) -> Fix | None:
    """`fix` of the call `node`, made only where there is an accelerator, and else `alone`.

    `alone` is Python for what the call gave without one; "nothing" if nobody looks at it.
    """
    if guarded(file, node):
        return fix
    test = spell(file, node, AVAILABLE)
    if test is None or not file.exact(node):
        return None
    span, statement = file.span(node), file.parent(node)
    edits: tuple[Edit, ...]
    if isinstance(statement, ast.Expr) and _begins_its_line(file, span):
        edits = (Edit(span.start, span.start, f"if {test.text}():{_next_line(file, span)}"),)
    elif isinstance(statement, ast.Expr):
        edits = (Edit(span.start, span.start, f"{test.text}() and "),)
    elif alone == "False":
        opening, closing = ("", "") if _stands_alone(file, node) else ("(", ")")
        edits = (
            Edit(span.start, span.start, f"{opening}{test.text}() and "),
            Edit(span.end, span.end, closing),
        )
    else:
        opening, closing = ("", "") if _stands_alone(file, node) else ("(", ")")
        value = "None" if alone == "nothing" else alone
        after = f" if {test.text}() else {value}{closing}"
        edits = (Edit(span.start, span.start, opening), Edit(span.end, span.end, after))
    edits = tuple(edit for edit in edits if edit.text)
    return replace(fix, edits=(*test.imports, *edits, *fix.edits))


def unsafe(fix: Fix | None) -> Fix | None:
    """The same, for a person to look at."""
    return fix and replace(fix, safety=Safety.UNSAFE)


def joined(*fixes: Fix | None) -> Fix | None:
    """All of them as one; None if one is None."""
    edits: list[Edit] = []
    files: list[NewFile] = []
    safety = Safety.SAFE
    for fix in fixes:
        if fix is None:
            return None
        edits += fix.edits
        files += fix.files
        safety = Safety.UNSAFE if fix.safety is Safety.UNSAFE else safety
    return Fix(tuple(dict.fromkeys(edits)), safety, tuple(dict.fromkeys(files)))


def _next_line(file: PythonFile, span: Span) -> str:
    """A new line, one step further in than the one on which `span` begins."""
    line, column = file.source.position(span.start)
    return f"{file.source.newline}{file.source.line(line)[: column - 1]}{file.indent}"


def _begins_its_line(file: PythonFile, span: Span) -> bool:
    """Whether nothing stands before it on its line, and no other statement behind it."""
    line = file.source.position(span.start)[0]
    before = file.source.text[file.source.line_starts[line - 1] : span.start]
    rest = file.source.line(file.source.position(span.end)[0])
    column = file.source.position(span.end)[1] - 1
    return not before.strip() and not rest[column:].lstrip().startswith(";")


def _stands_alone(file: PythonFile, node: ast.expr) -> bool:
    """Whether an `if else` may be written here without parentheses."""
    match file.parent(node):
        case ast.Assign() | ast.AnnAssign() | ast.Return():
            return True
        case ast.Call(args=args, func=func) if node is not func:
            return node in args and len(args) > 0 and not isinstance(node, ast.Starred)
        case ast.keyword():
            return True
    return False
