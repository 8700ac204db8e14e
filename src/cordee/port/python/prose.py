"""Texts that are there for people to read: docstrings, help, messages."""

import ast
import re

from cordee.port.python.file import PythonFile

KEYWORDS = frozenset({
    "help", "description", "epilog", "reason", "msg", "message", "doc", "title", "usage", "metavar",
    "label", "caption", "metadata",
})  # fmt: skip
# Functions that show it, by what their names begin or end with: print_rank_0, warn_once, _log.
SHOWING = re.compile(
    r"(?:\w*_)?(?:debug|info|warn|warning|error|critical|exception|log|print|fail|fatal|skip|echo)"
    r"(?:_\w*)?|skip[A-Z]\w*|skipif|write|markdown",
)


def is_prose(file: PythonFile, node: ast.AST) -> bool:
    """Whether a text is only shown: a docstring, the help of an option, a message, an error's words."""
    child, parent = node, file.parent(node)
    while parent is not None:
        match parent:
            case ast.Expr():
                return isinstance(child, (ast.Constant, ast.JoinedStr))
            case ast.Raise():
                return True
            case ast.Assert(msg=msg):
                return child is msg
            case ast.keyword(arg=str(name)) if name in KEYWORDS:
                return True
            case ast.Call(func=ast.Attribute(attr=name) | ast.Name(id=name)) if SHOWING.fullmatch(
                name
            ):
                return child is not parent.func
            case ast.Assign(targets=[ast.Name(id="__doc__" | "__all__")]):
                return True
            case ast.stmt() | ast.Compare():
                return False
        child, parent = parent, file.parent(parent)
    return False
