"""`x.cuda(...)` written as a move to the machine's accelerator."""

import ast
from collections.abc import Iterator

from cordee.port.finding import Edit, Fix
from cordee.port.python.devices import CURRENT
from cordee.port.python.file import PythonFile
from cordee.port.python.fixes import unsafe
from cordee.port.python.guards import guarded
from cordee.port.python.kinds import Kind, kind
from cordee.port.python.spelling import spell

# Of Tensor.cuda, by place. Tensor.to takes a dtype at the second place.
SET_DEVICE = ("torch.cuda.set_device", "torch.npu.set_device", "torch.accelerator.set_device_index")
PARAMETERS = ("device", "non_blocking", "memory_format")


def moved(file: PythonFile, call: ast.Call) -> Fix | None:
    """The call `x.cuda(...)` as `x.to(...)`, or as `x.npu(...)` where the style is native."""
    assert isinstance(call.func, ast.Attribute)
    name = file.attribute(call.func)
    if not file.exact(call) or any(isinstance(arg, ast.Starred) for arg in call.args):
        return None
    if (
        isinstance(call.func.value, ast.Call)
        and file.name(call.func.value.func) == "builtins.super"
    ):
        return None
    if not file.setting.portable:
        return Fix((Edit(name.start, name.end, "npu"),))
    edits = [Edit(name.start, name.end, "to")]
    device = call.args[0] if call.args else _keyword(call, "device")
    for place, arg in enumerate(call.args[1:], start=1):
        start = file.span(arg).start
        edits.append(Edit(start, start, f"{PARAMETERS[place]}="))
    if device is not None and kind(file, device) is not Kind.NONE:
        fix = Fix(tuple(edits))
        return fix if _is_given(file, device) else unsafe(fix)
    return _to_current(file, call, device, edits)


def _to_current(
    file: PythonFile, call: ast.Call, device: ast.expr | None, edits: list[Edit]
) -> Fix | None:
    spelling = spell(file, call, CURRENT)
    if spelling is None:
        return None
    text = f"{spelling.text}()" if guarded(file, call) else f'{spelling.text}() or "cpu"'
    if file.formatted(call) is not None:
        return None
    if device is not None:
        span = file.span(device)
        edits.append(Edit(span.start, span.end, text))
    else:
        inside = file.arguments(call)
        separator = ", " if call.keywords else ""
        edits.append(Edit(inside.start, inside.start, text + separator))
    return Fix((*spelling.imports, *edits))


def _keyword(call: ast.Call, name: str) -> ast.expr | None:
    return next((keyword.value for keyword in call.keywords if keyword.arg == name), None)


def _is_given(file: PythonFile, device: ast.expr) -> bool:
    """Whether `device` is surely not None, which `.cuda` takes for the current device."""
    if kind(file, device) in (Kind.NUMBER, Kind.DEVICE, Kind.TEXT):
        return True
    wanted = ast.dump(device)
    if any(wanted == ast.dump(given) for given in _made_current(file, device)):
        return True
    child: ast.AST = device
    parent = file.parent(device)
    while parent is not None:
        match parent:
            case ast.If(test=test, body=body) if child in body:
                if any(_not_none(each, wanted) for each in _conjuncts(test)):
                    return True
        child, parent = parent, file.parent(parent)
    return False


def _made_current(file: PythonFile, node: ast.expr) -> Iterator[ast.expr]:
    """What the function around `node` gave to set_device before, which refuses None."""
    scope = file.scope(node)
    for other in ast.walk(scope.node):
        match other:
            case ast.Call(args=[given, *_]) if file.name(other.func) in SET_DEVICE:
                if other.lineno < node.lineno:
                    yield given


def _conjuncts(test: ast.expr) -> list[ast.expr]:
    return test.values if isinstance(test, ast.BoolOp) and isinstance(test.op, ast.And) else [test]


def _not_none(test: ast.expr, wanted: str) -> bool:
    match test:
        case ast.Compare(left=left, ops=[ast.IsNot()], comparators=[ast.Constant(value=None)]):
            return ast.dump(left) == wanted
    return False
