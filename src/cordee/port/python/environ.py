"""How a text that names an environment variable is used: to set it, to read it, or otherwise."""

import ast
import re
from dataclasses import dataclass
from enum import Enum, auto

from cordee.port.python.file import PythonFile
from cordee.port.python.roles import last_name

# Of variables and arguments that hold an environment.
ENVIRONMENT = re.compile(
    r"(?:^|_)envs?(?:_vars?|_dict|_variables)?$|environ(?:ment)?(?:_vars?|_variables)?$|_env_",
    re.IGNORECASE,
)
SETTING = frozenset({"setdefault", "setenv", "putenv", "set_env", "setEnv"})
READING = frozenset({"get", "getenv", "pop", "getEnv", "delenv", "unsetenv"})
READERS = re.compile(r"(?:get|read|parse|is|check|bool|int|str)_?\w*env\w*", re.IGNORECASE)


class Way(Enum):
    """What is done with a variable."""

    WRITE = auto()
    READ = auto()
    OTHER = auto()


@dataclass(frozen=True, slots=True)
class Access:
    """What is done with a variable, and where."""

    way: Way
    statement: ast.AST | None = None  # the assignment, expression, dict or call that does it
    value: ast.expr | None = None  # that it is set to


def access(file: PythonFile, node: ast.Constant | ast.keyword) -> Access:
    """What is done with the variable that `node` names."""
    parent = file.parent(node)
    if isinstance(node, ast.keyword):
        setting = isinstance(parent, ast.Call) and _takes_environment(file, parent)
        return Access(Way.WRITE, parent, node.value) if setting else Access(Way.OTHER)
    match parent:
        case ast.Subscript(value=base) if _is_environment(file, base):
            return _subscript(file, parent)
        case ast.Compare(left=left, ops=[ast.In() | ast.NotIn()], comparators=[base]) if (
            left is node and _is_environment(file, base)
        ):
            return Access(Way.READ, parent)
        case ast.Call(args=[first, *rest]) if first is node:
            return _call(file, parent, rest)
        case ast.Dict(keys=keys, values=values) if node in keys:
            if _dict_is_environment(file, parent):
                return Access(Way.WRITE, parent, values[keys.index(node)])
    return Access(Way.OTHER)


def _subscript(file: PythonFile, node: ast.Subscript) -> Access:
    match file.parent(node):
        case ast.Assign(value=value) as statement if node in statement.targets:
            return Access(Way.WRITE, statement, value)
        case ast.AugAssign(target=target) as statement if target is node:
            return Access(Way.WRITE, statement)
    return Access(Way.READ, node)


def _call(file: PythonFile, call: ast.Call, rest: list[ast.expr]) -> Access:
    name = last_name(call.func)
    if isinstance(call.func, ast.Attribute):
        of_os = file.name(call.func) in ("os.getenv", "os.putenv", "os.unsetenv")
        known = of_os or _is_environment(file, call.func.value) or name in ("setenv", "delenv")
        if known and name in SETTING:
            statement = file.parent(call)
            return Access(Way.WRITE, statement, rest[0] if rest else None)
        if known and name in READING:
            return Access(Way.READ, call)
    if file.name(call.func) == "os.getenv" or READERS.fullmatch(name):
        return Access(Way.READ, call)
    return Access(Way.OTHER)


def _is_environment(file: PythonFile, node: ast.expr) -> bool:
    return file.name(node) == "os.environ" or ENVIRONMENT.search(last_name(node)) is not None


def _takes_environment(file: PythonFile, call: ast.Call) -> bool:
    """dict(os.environ, NAME=...), os.environ.update(NAME=...), patch.dict(os.environ, NAME=...)."""
    if any(_is_environment(file, arg) for arg in call.args):
        return True
    return isinstance(call.func, ast.Attribute) and _is_environment(file, call.func.value)


def _dict_is_environment(file: PythonFile, node: ast.Dict) -> bool:
    if any(key is None and _is_environment(file, value)
           for key, value in zip(node.keys, node.values, strict=True)):  # fmt: skip
        return True
    match file.parent(node):
        case ast.keyword(arg=str(name)):
            return ENVIRONMENT.search(name) is not None
        case ast.Assign(targets=[target]) | ast.AnnAssign(target=target):
            return ENVIRONMENT.search(last_name(target)) is not None
        case ast.Call() as call:
            return _takes_environment(file, call)
        case ast.Dict(keys=keys, values=values) if node in values:
            match keys[values.index(node)]:
                case ast.Constant(value=str(name)):
                    return ENVIRONMENT.search(name) is not None
        case ast.BinOp(op=ast.BitOr(), left=left):
            return _is_environment(file, left)
    return False
