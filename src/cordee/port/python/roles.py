"""Under which names a value is handed on: the argument, variable, key or option that it is for."""

import ast
from dataclasses import dataclass

from cordee.port.python.file import PythonFile


@dataclass(frozen=True, slots=True)
class Role:
    """What a value is for, as far as the code around it says so."""

    names: tuple[str, ...] = ()  # of the argument, variable, key, option or function
    call: ast.Call | None = None  # that it is an argument of
    place: int | None = None  # at which place of it


def role(file: PythonFile, node: ast.expr) -> Role:
    """What the value `node` is for, looking through choices such as `a if b else node`."""
    child, parent = whole(file, node)
    match parent:
        case ast.Call(args=args) if child in args:
            return _in_call(parent, args.index(child))
        case ast.keyword(arg=str(name)):
            call = file.parent(parent)
            if not isinstance(call, ast.Call):
                return Role((name,))
            return Role((_option(file, call) if name == "default" else name,), call)
        case ast.Assign(targets=targets) if child is parent.value:
            return Role(tuple(map(last_name, targets)))
        case ast.AnnAssign(target=target) | ast.NamedExpr(target=target):
            return Role((last_name(target),))
        case ast.Tuple():
            return Role(tuple(map(last_name, unpacked_to(file, parent, child))))
        case ast.arguments():
            return Role((parameter(parent, child),))
        case ast.Return():
            return Role((function(file, parent),))
        case ast.Dict(keys=keys, values=values) if child in values:
            key = keys[values.index(child)]
            return Role((key.value,) if _is_text(key) else ())  # type: ignore[union-attr]
    return Role()


def whole(file: PythonFile, node: ast.expr) -> tuple[ast.AST, ast.AST | None]:
    """The expression that has the value of `node`, through choices, and what it stands in."""
    child: ast.AST = node
    parent = file.parent(node)
    while True:
        match parent:
            case ast.IfExp(test=test) if child is not test:
                pass
            case ast.BoolOp(op=ast.Or()):
                pass
            case _:
                return child, parent
        child, parent = parent, file.parent(parent)


def last_name(node: ast.expr) -> str:
    """`name` of name, x.name, x["name"] and of a call of one of them."""
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
        case ast.Subscript(slice=ast.Constant(value=str(name))):
            return name
        case ast.Call(
            args=[ast.Constant(value=str(name)), *_], func=ast.Attribute(attr=method)
        ) if method in ("get", "getenv", "pop"):
            return name
        case ast.Call(func=func):
            return last_name(func)
    return ""


def unpacked_to(file: PythonFile, values: ast.Tuple, value: ast.AST) -> list[ast.expr]:
    """What takes `value`, one of `values`, in `a, b = one, other`."""
    place = next((i for i, each in enumerate(values.elts) if each is value), None)
    statement = file.parent(values)
    if place is None or not isinstance(statement, ast.Assign) or statement.value is not values:
        return []
    return [
        target.elts[place]
        for target in statement.targets
        if isinstance(target, (ast.Tuple, ast.List))
        and len(target.elts) == len(values.elts)
        and not any(isinstance(each, ast.Starred) for each in (*target.elts, *values.elts))
    ]


def _is_text(node: ast.expr | None) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def _in_call(call: ast.Call, place: int) -> Role:
    match call.func, call.args:
        case ast.Attribute(attr="get" | "pop" | "getenv" | "setdefault"), [
            ast.Constant(value=str(key)),
            *_,
        ] if place == 1:
            return Role((key,))
        case ast.Name(id="getattr" | "setattr"), [_, ast.Constant(value=str(key)), *_] if (
            place == 2
        ):
            return Role((key,))
    return Role((), call, place)


def _option(file: PythonFile, call: ast.Call) -> str:
    """The longest name of the option that a call declares, or of the field that it gives."""
    texts = [a.value for a in call.args if isinstance(a, ast.Constant) and isinstance(a.value, str)]
    if texts:
        return max((text.lstrip("-") for text in texts), key=len)
    match file.parent(call):
        case ast.AnnAssign(target=target) | ast.Assign(targets=[target]):
            return last_name(target)
    return ""


def parameter(arguments: ast.arguments, default: ast.AST) -> str:
    """The name of the parameter that has this default."""
    plain = [*arguments.posonlyargs, *arguments.args]
    if default in arguments.defaults:
        place = arguments.defaults.index(default)
        return plain[len(plain) - len(arguments.defaults) + place].arg
    if default in arguments.kw_defaults:
        return arguments.kwonlyargs[arguments.kw_defaults.index(default)].arg
    return ""


def function(file: PythonFile, node: ast.AST) -> str:
    """The name of the function around `node`."""
    parent = file.parent(node)
    while parent is not None:
        if isinstance(parent, (ast.FunctionDef, ast.AsyncFunctionDef)):
            return parent.name
        parent = file.parent(parent)
    return ""
